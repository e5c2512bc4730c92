"""Studies by HTTP: submitted once, shown, changed only as they were read, and every change recorded."""

import dataclasses
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from ruamel.yaml import YAML

from kd_sweep.service.access.roles import Role
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.study_files import check
from kd_sweep.service.queue.submissions import submit
from tests.service.running_service import RunningService, running
from tests.tiny_study import TINY

YAML_BODY = {"Content-Type": "application/yaml"}


def named(name: str) -> str:
    return TINY.replace("name: tiny", f"name: {name}  # of whoever wrote it")


@pytest.fixture
def service(trained_root: Path, tmp_path: Path) -> Iterator[RunningService]:
    """A service with an empty queue, and nobody who works it off."""
    with running(trained_root, tmp_path, policy=Policy(max_slots=4)) as started:
        yield started


def test_a_study_is_submitted_as_yaml_or_json_and_shown(admin: httpx.Client, service: RunningService) -> None:
    made = admin.post("/api/v1/studies?priority=3&slots=2", content=named("one"), headers=YAML_BODY)
    assert made.status_code == 201, made.text
    assert made.headers["location"] == "/api/v1/studies/one"
    content = YAML(typ="safe", pure=True).load(TINY) | {"name": "two"}
    with service.client(Role.OPERATOR) as operator:
        assert operator.post("/api/v1/studies", json={"study": content, "priority": 9}).status_code == 201
    first, second = (admin.get(f"/api/v1/studies/{name}").json() for name in ("one", "two"))
    assert (first["state"], first["priority"], first["slots"], first["submitted_by"]) == ("queued", 3, 2, "the admin")
    assert first["waiting"]["position"] == 2
    assert first["waiting"]["why"].startswith("second: 1 study before it")
    assert (second["waiting"]["position"], second["submitted_by"]) == (1, "the operator")
    assert admin.get("/api/v1/studies/one/file").text == named("one")
    listed = admin.get("/api/v1/studies").json()["studies"]
    assert [entry["name"] for entry in listed] == ["two", "one", "tiny"]
    assert listed[2]["progress"]["num_completed"] == 4
    assert (listed[2]["is_submitted"], listed[2]["state"]) == (False, "completed")


def test_a_grid_of_ten_million_is_refused_in_one_line_at_once(admin: httpx.Client) -> None:
    levels = [number / 100 for number in range(100)]
    search = {"augmentation_strength": levels, "distillation.alpha": levels, "seed": list(range(1000))}
    study = {"name": "wide", "search": {field: {"grid": values} for field, values in search.items()}}
    begun = time.process_time()  # of the service too, which is a thread here
    answer = admin.post("/api/v1/studies", json={"study": study})
    assert time.process_time() - begun < 5
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("search: the grid has 10000000 trials, more than 1000000; take sampler")


def test_five_hundred_studies_wait_in_order_and_are_listed(admin: httpx.Client, service: RunningService) -> None:
    study = check(TINY, Policy())
    with service.serving.rows.changing() as session:
        for number in range(500):
            one = dataclasses.replace(study, name=f"s{number}")
            submit(session, one, by="anna", policy=Policy(), priority=number % 3)
    begun = time.process_time()
    listed = admin.get("/api/v1/studies", params={"state": "queued", "limit": 500}).json()["studies"]
    assert time.process_time() - begun < 10
    expected = sorted(range(500), key=lambda number: (-(number % 3), number))
    in_order = sorted(listed, key=lambda entry: entry["waiting"]["position"])
    assert [entry["name"] for entry in in_order] == [f"s{number}" for number in expected]
    assert [entry["waiting"]["position"] for entry in in_order] == list(range(1, 501))
    last = admin.get(f"/api/v1/studies/s{expected[-1]}").json()["waiting"]
    assert last["why"].startswith("number 500: 499 studies before it")


def test_pages_of_studies_have_each_once(admin: httpx.Client) -> None:
    for number in range(5):
        admin.post("/api/v1/studies", content=named(f"s{number}"), headers=YAML_BODY).raise_for_status()
    names, after = [], None
    for _ in range(10):
        page = admin.get("/api/v1/studies", params={"limit": 2, **({"after": after} if after else {})}).json()
        names += [entry["name"] for entry in page["studies"]]
        if (after := page["next"]) is None:
            break
    assert names == ["s4", "s3", "s2", "s1", "s0", "tiny"]
    assert admin.get("/api/v1/studies?state=running").json() == {"studies": [], "next": None}
    other = admin.get("/api/v1/studies", params={"sort": "name", "limit": 1}).json()["next"]
    assert admin.get("/api/v1/studies", params={"sort": "-name", "after": other}).status_code == 400
    assert admin.get("/api/v1/studies?state=runing").json()["detail"].startswith("state: 'runing' is not a state; did")


def test_a_list_says_why_each_waits_and_is_searched_and_sorted(admin: httpx.Client, service: RunningService) -> None:
    with service.client(Role.OPERATOR) as operator:
        for client, name, priority in ((admin, "b", 1), (operator, "a_1", 1), (operator, "Ab", 5), (admin, "c", 0)):
            answer = client.post("/api/v1/studies", json={"yaml": named(name), "priority": priority})
            assert answer.status_code == 201

    def names(**wanted: str | int) -> list[str]:
        found, after = [], {}
        while True:
            page = admin.get("/api/v1/studies", params={"limit": 2, **wanted, **after}).json()
            found += [entry["name"] for entry in page["studies"]]
            if page["next"] is None:
                return found
            after = {"after": page["next"]}

    whys = {entry["name"]: entry["waiting"] for entry in admin.get("/api/v1/studies").json()["studies"]}
    assert whys.pop("tiny") is None
    assert whys == {name: admin.get(f"/api/v1/studies/{name}").json()["waiting"] for name in ("b", "a_1", "Ab", "c")}
    assert names(sort="-priority") == ["Ab", "a_1", "b", "c", "tiny"]
    assert names(sort="priority") == ["c", "b", "a_1", "Ab", "tiny"]
    assert names(sort="-name") == ["c", "b", "a_1", "Ab", "tiny"]
    assert names(search="A", sort="submitted_at") == ["b", "a_1", "Ab", "c"]  # the admin's, too
    assert names(search="B", by="the operator") == ["Ab"]
    assert names(search="_") == ["a_1"]
    assert names(search="TIN") == ["tiny"]
    assert names(search="%") == []
    refused = admin.get("/api/v1/studies?sort=best").json()["detail"]
    assert refused.startswith("sort: 'best' is nothing to sort by; possible: name, priority, state")


def test_a_key_makes_one_study_however_often_and_at_once_it_is_sent(
    admin: httpx.Client, service: RunningService
) -> None:
    def send(_: int) -> int:
        headers = {**YAML_BODY, "Idempotency-Key": "k1"}
        with service.client() as client:
            return client.post("/api/v1/studies", content=named("once"), headers=headers).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(pool.map(send, range(8)))
    assert statuses == [200] * 7 + [201]
    other = admin.post("/api/v1/studies", content=named("other"), headers={**YAML_BODY, "Idempotency-Key": "k1"})
    assert other.status_code == 409
    assert admin.post("/api/v1/studies", content=named("once"), headers=YAML_BODY).status_code == 409
    assert [row["action"] for row in admin.get("/api/v1/audit?study=once").json()["changes"]] == ["study.submit"]


@pytest.mark.parametrize(
    ("body", "status", "beginning"),
    [
        (
            "name: x\nsearch: {ensemble_size: {grid: [0]}}",
            422,
            "search.ensemble_size.grid[0]: 0 is not at least 1 (study, line 2)",
        ),
        ("name: [", 422, "study, line 1: "),
        ("name: x\nplugins: [evil]", 403, "plugins: "),
        ("name: x\ndata: {name: image_folder, path: /etc, image_size: 8}", 403, "data.path: /etc lies below no folder"),
        ("", 422, "study: is empty"),
    ],
)
def test_a_wrong_study_is_refused_in_one_line_and_leaves_nothing(
    admin: httpx.Client, body: str, status: int, beginning: str
) -> None:
    for path in ("/api/v1/studies", "/api/v1/check"):
        answer = admin.post(path, content=body or " ", headers=YAML_BODY)
        assert answer.status_code == status, answer.text
        assert answer.json()["detail"].startswith(beginning), answer.text
        assert "\n" not in answer.json()["detail"]
    assert len(admin.get("/api/v1/studies").json()["studies"]) == 1
    assert admin.get("/api/v1/audit").json()["changes"] == []


def test_a_body_that_is_no_submission_is_refused(admin: httpx.Client) -> None:
    for body, beginning in [
        ({}, "body: has no study"),
        ({"yaml": "a", "study": {}}, "body: has both yaml and study"),
        ({"yml": "a"}, "yml: "),
        ({"yaml": TINY, "plugins_zip": "?"}, "plugins_zip: is not base64"),
        ({"yaml": TINY, "slots": 5}, "slots: 5 is more than the 4"),
        ([], "body: is not an object"),
    ]:
        answer = admin.post("/api/v1/studies", json=body)
        assert answer.status_code in (403, 422), answer.text
        assert answer.json()["detail"].startswith(beginning), answer.text
    assert admin.post("/api/v1/studies", content="{", headers={"Content-Type": "application/json"}).status_code == 400
    assert admin.post("/api/v1/studies", content=b"\xff", headers=YAML_BODY).status_code == 400


def test_changes_are_made_to_what_was_read_alone(admin: httpx.Client) -> None:
    seen = admin.post("/api/v1/studies", content=named("one"), headers=YAML_BODY).headers["etag"]
    paused = admin.patch("/api/v1/studies/one", json={"wanted": "pause", "priority": 7}, headers={"If-Match": seen})
    assert paused.status_code == 200, paused.text
    assert (paused.json()["state"], paused.json()["priority"]) == ("paused", 7)
    late = admin.patch("/api/v1/studies/one", json={"priority": 1}, headers={"If-Match": seen})
    assert late.status_code == 412
    assert admin.get("/api/v1/studies/one").json()["priority"] == 7
    tag = admin.get("/api/v1/studies/one").headers["etag"]
    assert admin.get("/api/v1/studies/one", headers={"If-None-Match": tag}).status_code == 304
    assert admin.patch("/api/v1/studies/one", json={"priority": 1}, headers={"If-Match": tag}).status_code == 200
    assert admin.patch("/api/v1/studies/one", json={"priority": 1}, headers={"If-Match": '"x"'}).status_code == 412
    refused = admin.post("/api/v1/studies/one/retry")
    assert refused.status_code == 409
    assert refused.json()["detail"].startswith("study: 'one' is paused and cannot be retried; possible: ")
    assert admin.patch("/api/v1/studies/one", json={"slots": None, "wanted": "run"}).json()["state"] == "queued"
    assert admin.patch("/api/v1/studies/one", json={"prioritty": 1}).status_code == 422
    rows = admin.get("/api/v1/audit?study=one").json()["changes"]
    assert [row["action"] for row in rows] == ["study.run", "study.change", "study.pause", "study.submit"]
    assert rows[2]["detail"] == {"wanted": "pause", "priority": 7}
    assert rows[2]["request_id"] == paused.headers["x-request-id"]


def test_a_refused_change_changes_nothing_of_it(admin: httpx.Client) -> None:
    admin.post("/api/v1/studies", content=named("one"), headers=YAML_BODY).raise_for_status()
    answer = admin.patch("/api/v1/studies/one", json={"priority": 5, "slots": 99, "wanted": "pause"})
    assert answer.status_code == 403
    content = admin.get("/api/v1/studies/one").json()
    assert (content["priority"], content["state"], content["revision"]) == (0, "queued", 1)


def test_extend_clone_and_delete(admin: httpx.Client) -> None:
    admin.post("/api/v1/studies", content=named("one"), headers=YAML_BODY).raise_for_status()
    longer = admin.post("/api/v1/studies/one/extend", json={"overrides": ["search.seed.grid=[0,1]"]})
    assert longer.status_code == 200, longer.text
    load = YAML(typ="safe", pure=True).load
    assert load(admin.get("/api/v1/studies/one/file").text)["search"]["seed"] == {"grid": [0, 1]}
    clone = admin.post(
        "/api/v1/studies/one/clone", json={"name": "copy", "overrides": ["student.epochs=5"], "priority": 2}
    )
    assert clone.status_code == 201, clone.text
    copied = load(admin.get("/api/v1/studies/copy/file").text)
    assert (copied["name"], copied["student"]["epochs"], copied["search"]["seed"]) == ("copy", 5, {"grid": [0, 1]})
    of_root = admin.post("/api/v1/studies/tiny/clone", json={"name": "again", "overrides": ["teacher.epochs=1"]})
    assert of_root.status_code == 201, of_root.text
    assert load(admin.get("/api/v1/studies/again/file").text)["teacher"]["epochs"] == 1
    assert admin.post("/api/v1/studies/one/clone", json={"overrides": []}).status_code == 422
    assert admin.post("/api/v1/studies/none/clone", json={"name": "b"}).status_code == 404
    assert admin.delete("/api/v1/studies/one").status_code == 202
    assert admin.get("/api/v1/studies/one").json()["wanted"] == "delete"
    assert admin.patch("/api/v1/studies/one", json={"wanted": "pause"}).status_code == 409
    missing = admin.delete("/api/v1/studies/tiny")
    assert missing.status_code == 404


def test_a_service_that_only_reads_refuses_changes_and_answers_questions(trained_root: Path, tmp_path: Path) -> None:
    why = "the service on host h with pid 1 holds this root"
    with running(trained_root, tmp_path, read_only=lambda: why) as started, started.client() as client:
        for method, path in [("POST", "studies"), ("PATCH", "studies/x"), ("DELETE", "studies/x"), ("POST", "tokens")]:
            body = {"yaml": TINY} if path == "studies" else {"name": "x", "role": "viewer"} if path == "tokens" else {}
            answer = client.request(method, f"/api/v1/{path}", json=None if method == "DELETE" else body)
            assert (answer.status_code, answer.json()["detail"]) == (503, why)
        assert client.get("/api/v1/studies/tiny/trials").status_code == 200
        assert client.post("/api/v1/sql", json={"query": "SELECT 1"}).status_code == 200
        assert client.get("/readyz").status_code == 200
        assert client.get("/api/v1/service").json()["read_only"] == why


def test_a_service_whose_root_is_gone_is_not_ready(trained_root: Path, tmp_path: Path) -> None:
    why = "the results root /r was removed"
    gone = {"read_only": lambda: why, "why_gone": lambda: why}
    with running(trained_root, tmp_path, **gone) as started, started.client() as client:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["detail"]) == (503, why)


def test_a_root_without_studies_is_served(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with running(tmp_path / "new", tmp_path / "state") as started, started.client() as client:
        assert client.get("/api/v1/studies").json() == {"studies": [], "next": None}
        assert client.get("/api/v1/queries/summary").status_code == 404
        assert (
            client.post("/api/v1/sql", json={"query": "SELECT 1"}).json()["detail"].startswith("results: no study in ")
        )
        assert client.post("/api/v1/studies", json={"yaml": TINY}).status_code == 201
        assert client.get("/api/v1/studies/tiny").json()["progress"] is None


def test_webhooks_are_made_listed_and_removed(admin: httpx.Client) -> None:
    made = admin.post("/api/v1/webhooks", json={"url": "https://example.com/told", "events": ["finished"]})
    assert made.status_code == 201, made.text
    assert len(made.json()["secret"]) == 64
    assert made.json()["secret"] not in (listed := admin.get("/api/v1/webhooks")).text
    assert [(one["url"], one["events"], one["created_by"]) for one in listed.json()["webhooks"]] == [
        ("https://example.com/told", ["finished"], "the admin")
    ]
    refused = admin.post("/api/v1/webhooks", json={"url": "http://127.0.0.1:1/"})
    assert refused.status_code == 403
    assert admin.post("/api/v1/webhooks", json={"url": "ftp://x"}).status_code == 400
    assert admin.delete(f"/api/v1/webhooks/{made.json()['id']}").status_code == 204
    assert admin.delete(f"/api/v1/webhooks/{made.json()['id']}").status_code == 404
    assert made.json()["secret"] not in admin.get("/api/v1/audit").text

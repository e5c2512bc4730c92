"""Submissions: what is accepted, what is refused and why, and that a repeated request makes nothing twice."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kd_sweep.errors import SpecError
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.study_files import check, with_changes
from kd_sweep.service.queue.submissions import get, listing, submit
from kd_sweep.service.rows.database import Database
from kd_sweep.service.service_errors import ConflictError, NotFoundError, PolicyError, ServiceError
from tests.service.submitting import Submit
from tests.tiny_study import TINY

HALVED = """
import os
import kd_sweep

@kd_sweep.loss("halved", version="1")
def halved(inputs):
    return inputs.student_logits_BC.mean() / 2
"""
WITH_PLUGIN = TINY + "plugins: [mylosses]\ndistillation: {loss: 'mylosses:halved'}\n"


def archive(**files: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, text in files.items():
            packed.writestr(name.replace("__", "/") + ".py", text)
    return content.getvalue()


def test_a_study_is_kept_as_it_was_written(database: Database) -> None:
    text = "# why\n" + TINY
    study = check(text, Policy())
    assert (study.name, study.num_trials) == ("tiny", 4)
    with database.changing() as session:
        row, is_new = submit(session, study, by="anna", policy=Policy(), priority=3, slots=2)
    assert is_new
    with database.reading() as session:
        row = get(session, "tiny")
    assert (row.study_yaml, row.submitted_by, row.priority, row.slots) == (text, "anna", 3, 2)
    assert (row.state, row.wanted, row.revision, row.run_id) == ("queued", "run", 1, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a b", r"^name: 'a b' .*\(study, line 1\)$"),
        ("name: d\nteacher: {epoch: 2}", r"^teacher.epoch: .*did you mean 'epochs'.*\(study, line 2\)$"),
        ("", "^study: is empty"),
        ("[", "^study, line 1: is not valid YAML"),
        ("name: d\n" + "#" * (1 << 20), "^study: is larger than 1048576 bytes"),
        (
            f"name: d\nsearch: {{seed: {{grid: {list(range(100_000))}}}}}",
            "^study, line 2: holds more than 10000 values",
        ),
        ("name: service", "^name: 'service' is taken: the results root keeps"),
    ],
)
def test_a_wrong_study_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as error:
        check(text, Policy())
    assert "\n" not in str(error.value)


def test_a_name_is_taken_once(database: Database, submitted: Submit) -> None:
    submitted("digits")
    with pytest.raises(ConflictError, match=r"'digits' is taken by a study that anna submitted, which is queued"):
        submitted("digits", by="ben")
    submitted("other")


def test_a_repeated_key_gives_the_first_submission(database: Database, submitted: Submit) -> None:
    first = submitted("digits", idempotency_key="k1")
    assert submitted("digits", idempotency_key="k1").id == first.id
    with pytest.raises(ConflictError, match="'k1' was used for another request"):
        submitted("digits", idempotency_key="k1", priority=1)
    with pytest.raises(ConflictError, match="'k1' was used for another request"):
        submitted("other", idempotency_key="k1")
    # Of another user it is another key.
    assert submitted("theirs", idempotency_key="k1", by="ben").id != first.id
    with pytest.raises(ServiceError, match="has 201 characters; possible: 1 to 200"):
        submitted("third", idempotency_key="k" * 201)


def test_an_unknown_name_is_answered_with_near_ones(database: Database, submitted: Submit) -> None:
    submitted("digits")
    with database.reading() as session, pytest.raises(NotFoundError, match="did you mean 'digits'"):
        get(session, "digit")


def test_pages_follow_the_order_of_arrival(database: Database, submitted: Submit) -> None:
    ids = [submitted(f"s{number}", state="paused" if number % 2 else "queued").id for number in range(7)]
    with database.reading() as session:
        page = listing(session, limit=3)
        assert [row.id for row in page] == ids[:3]
        assert [row.id for row in listing(session, limit=3, after=page[-1].id)] == ids[3:6]
        assert [row.id for row in listing(session, states=["paused"])] == ids[1::2]
        with pytest.raises(ServiceError, match="did you mean 'paused'"):
            listing(session, states=["pased"])
        with pytest.raises(ServiceError, match="limit: 0 is not from 1 to 1000"):
            listing(session, limit=0)


def test_an_id_is_never_used_again(database: Database, submitted: Submit) -> None:
    """Pages go on from ids."""
    first = submitted("digits")
    with database.changing() as session:
        session.delete(get(session, "digits"))
    assert submitted("digits").id > first.id


@pytest.mark.parametrize(
    ("fields", "policy", "message"),
    [
        ("teacher: {weights: pretrained, model: resnet18}", Policy(), "teacher.weights: needs a download"),
        (
            "data: {name: cifar10, path: {data}/c, download: true}",
            Policy(data_folders=(Path("/data"),)),
            "data.download: needs a download, .*--allow-downloads",
        ),
        ("data: {name: cifar10, path: /etc}", Policy(), "data.path: /etc lies below no folder .*possible: none"),
        (
            "data: {name: cifar10, path: '{data}/../etc'}",
            Policy(data_folders=(Path("/data"),)),
            "data.path: .* lies below no folder",
        ),
        (
            "data: {name: cifar10, path: c}",
            Policy(data_folders=(Path("/data"),)),
            "'c' is no absolute path.*below /data",
        ),
        (
            "data: {name: image_list, path: '{data}', train_list: /etc/passwd, image_size: 8}",
            Policy(data_folders=(Path("/data"),)),
            "data.train_list: /etc/passwd lies below no folder",
        ),
        ("student: {weights: /root/w.pth}", Policy(), "student.weights: /root/w.pth lies below no folder"),
        (
            "teachers: [{}, {weights: /root/w.pth}]",
            Policy(),
            r"teachers\[1\].weights: /root/w.pth lies below no folder",
        ),
        (
            "teachers: [{}, {model: resnet18, weights: pretrained}]",
            Policy(),
            r"teachers\[1\].weights: needs a download",
        ),
        (
            "warm_start: {study: /root/other}\nsampler: {name: tpe}\nsearch: {teacher.epochs: {grid: [1, 2]}}",
            Policy(),
            "warm_start.study: /root/other lies below no folder",
        ),
        (
            "search: {seed: {grid: [0, 1, 2]}}\nseeds: null",
            Policy(max_trials=2),
            "asks for 3 trials; this server allows 2",
        ),
        ("plugins: [mylosses]", Policy(), "plugins: .*mylosses.* would run code of its own .*--allow-plugins"),
    ],
)
def test_what_a_server_does_not_allow_is_refused(fields: str, policy: Policy, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        check("name: d\n" + fields.replace("{data}", "/data"), policy)


def test_what_a_server_allows_is_taken(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc")
    policy = Policy(data_folders=(tmp_path,), allow_downloads=True, max_trials=2, max_slots=2)
    check(f"name: d\ndata: {{name: cifar10, path: {tmp_path}/c, download: true}}", policy)
    check("name: d\nteacher: {model: resnet18, weights: pretrained}", policy)
    check("name: d\nsearch: {seed: {grid: [0, 1, 2]}}\nbudget: {max_trials: 2}", policy)
    with pytest.raises(PolicyError, match="lies below no folder"):  # a link leads elsewhere
        check(f"name: d\ndata: {{name: cifar10, path: {tmp_path}/link/c}}", policy)
    with pytest.raises(PolicyError, match="slots: 3 is more than the 2"):
        policy.check_slots(3)
    with pytest.raises(PolicyError, match="slots: 0 is not at least 1"):
        policy.check_slots(0)
    assert Policy.of_json(policy.as_json()) == policy


def test_a_plugin_is_never_loaded_in_this_process() -> None:
    """Nor torch, which it imports: in a process that has not loaded it for another test."""
    program = f"""
import sys
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.study_files import check
study = check({WITH_PLUGIN!r}, Policy(allow_plugins=True), {archive(mylosses="import torch" + HALVED)!r})
print(study.name, study.num_trials, sorted({{"torch", "ray", "mylosses"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "tiny 4 []\n", done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive(mylosses="raise ValueError('no')"), "ValueError: no .mylosses.py, line 1"),
        (archive(mylosses="import os; os._exit(3)"), "the process that imported them ended with exit code 3"),
        (archive(other=HALVED), "there is no module 'mylosses'"),
        (b"nothing", "plugins: the file with their source is no ZIP file"),
        (archive(**{"..__mylosses": HALVED}), "'../mylosses.py' leads out of the folder"),
        (archive(mylosses="#" * (5 << 20)), "their source is larger than 4194304 bytes"),
    ],
)
def test_a_wrong_plugin_is_refused_in_one_line(content: bytes, message: str) -> None:
    with pytest.raises(SpecError, match=message) as error:
        check(WITH_PLUGIN, Policy(allow_plugins=True), content)
    assert "\n" not in str(error.value)


def test_plugins_that_come_along_are_refused_where_none_are_allowed() -> None:
    with pytest.raises(PolicyError, match="plugins: the code that came with the study would run code of its own"):
        check(TINY, Policy(), archive(mylosses=HALVED))


def test_the_policy_holds_for_studies_with_plugins() -> None:
    text = WITH_PLUGIN + "budget: {max_trials: 3}\n"
    with pytest.raises(PolicyError, match="asks for 3 trials"):
        check(text, Policy(allow_plugins=True, max_trials=2), archive(mylosses=HALVED))


def test_a_study_is_cloned_with_changes() -> None:
    text = with_changes(TINY, ["teacher.epochs=5", "search.seed={grid: [0, 1]}"], name="larger")
    study = check(text, Policy())
    assert (study.name, study.num_trials) == ("larger", 8)
    assert with_changes("# why\n" + TINY, []) == "# why\n" + TINY
    with pytest.raises(SpecError, match="needs the form KEY=VALUE"):
        with_changes(TINY, ["teacher.epochs"])

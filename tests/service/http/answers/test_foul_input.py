"""Text that no file, row or terminal can hold, numbers that no column has: each is answered, and no request fails."""

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from kd_sweep.service.http.app import create_app
from kd_sweep.service.http.authorization import routes_of
from tests.service.running_service import RunningService

FOUL = ["\0", "\ud800", "a" * 3000, "²", "1e400", "nan", "99999999999999999999", "../..", "trial_id=\0", ""]
BODIES = [
    *({"yaml": text} for text in ("\ud800", "\0", "a" * 3000)),
    *({"query": "SELECT $a AS a", "parameters": {"a": value}} for value in (10**60, float("inf"), "\ud800", "\0")),
    *({"query": "SELECT 1", "study": text} for text in ("\0", "\ud800", "..", "a" * 3000)),
    *({"name": text, "role": "viewer", "overrides": [f"name={text}"]} for text in ("\ud800", "\0")),
    *({"url": url} for url in ("http://\ud800", "http://[::1", "http://a:99999/", "https://example.org/\0")),
    {"url": "https://example.org/", "study": "\ud800"},
    {"token": "\ud800"},
    {"name": "n", "role": "viewer", "days": float("nan")},
    *({"priority": number, "slots": number} for number in (10**30, -(10**30), float("inf"))),
    *(None, [], 1, "x"),
]
NAMES = {"name": "tiny", "query": "leaderboard", "table": "trials", "path": "study.yaml", "token": "x", "webhook": "1"}


def quoted(text: str) -> str:
    return quote(text.encode("utf-8", "surrogatepass"), safe="")


def paths(service: RunningService, method: str) -> list[tuple[str, list[str], list[str]]]:
    """Return path, names in it and names of its query, of each route that a program asks."""
    found = []
    for route in routes_of(create_app(service.serving)):
        if method in (route.methods or ()) and route.include_in_schema and "events" not in route.path:
            query = [field.alias for field in route.dependant.query_params]
            query += [field.alias for part in route.dependant.dependencies for field in part.query_params]
            found.append((route.path, [field.name for field in route.dependant.path_params], query))
    assert found
    return found


def filled(path: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        path = path.replace(f"{{{name}:path}}", value).replace(f"{{{name}}}", value)
    return path


def test_whatever_is_in_a_path_or_query_is_answered(admin: httpx.Client, service: RunningService) -> None:
    trial_id = admin.get("/api/v1/studies/tiny/trials").json()["rows"][0]["trial_id"]
    names = NAMES | {"trial_id": trial_id, "digest": "x"}
    for path, parts, query in paths(service, "GET"):
        asked = [filled(path, names | {part: quoted(text)}) for part in parts for text in FOUL]
        asked += [f"{filled(path, names)}?{name}={quoted(text)}" for name in query for text in FOUL]
        for url in asked:
            if "png" not in url:  # drawn by processes, which take their time
                assert admin.get(url).status_code < 500, url


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_whatever_is_in_a_body_is_answered(admin: httpx.Client, service: RunningService, body: Any) -> None:
    for method in ("POST", "PATCH"):
        for path, _, _ in paths(service, method):
            content = json.dumps(body).encode()
            answer = admin.request(
                method, filled(path, NAMES), content=content, headers={"Content-Type": "application/json"}
            )
            assert answer.status_code < 500, (path, answer.text)
            assert len(answer.json().get("detail", "").splitlines()) < 2


@pytest.mark.parametrize("name", ["by", "search"])
def test_a_filter_by_text_that_no_row_can_hold_is_refused(admin: httpx.Client, name: str) -> None:
    answer = admin.get(f"/api/v1/studies?{name}=an%00na")
    assert answer.status_code == 422
    assert answer.json()["detail"].endswith("holds '\\x00', a character that no row can hold")


def test_a_study_is_named_by_its_name_alone(admin: httpx.Client) -> None:
    for name in ("../tiny", "tiny/../tiny", ".", "tiny\n"):
        for answer in (
            admin.get("/api/v1/tables/trials", params={"study": name}),
            admin.post("/api/v1/sql", json={"query": "SELECT 1", "study": name}),
            admin.get("/api/v1/studies/tiny/comparison", params={"with": name}),
        ):
            assert answer.status_code == 404
            assert answer.json()["detail"] == f"study: {name!r} is not the name of a study"

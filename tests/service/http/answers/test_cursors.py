"""Cursors that somebody has made up: a page, or one line, and never a failure."""

import base64
import itertools
import json
from typing import Any

import httpx
import pytest

from kd_sweep.service.http.answers.cursors import cursor_of, key_of
from kd_sweep.service.supervision.run_folder import RunFolder, RunRequest
from tests.service.running_service import RunningService
from tests.tiny_study import TINY

VALUES = [
    None,
    True,
    float("nan"),
    float("inf"),
    -5,
    10**30,
    2**63,
    1.5,
    "",
    "x",
    "\ud800",
    "\0",
    "1-a",
    "tiny",
    [],
    {},
]
PAGES = [
    ("studies/tiny/trials", {}, [], 2),
    ("studies/tiny/trials", {"sort": "-val_accuracy"}, [], 2),
    ("studies/tiny/epochs", {}, [], 2),
    ("studies/tiny/teachers", {}, [], 2),
    ("studies/waiting/logs", {}, [], 2),
    ("studies", {}, ["-submitted_at"], 2),
    ("studies", {}, ["in root"], 2),
    ("studies", {"sort": "name"}, ["name"], 2),
    ("audit", {}, [], 1),
]
"""Lists, with what keys of their cursors begin with, and the number of values that follow."""


def made_up(key: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


@pytest.fixture(scope="module", autouse=True)
def waiting(service: RunningService) -> None:
    """A study that waits, with a log."""
    with service.client() as client:
        sent = client.post("/api/v1/studies", json={"yaml": TINY.replace("name: tiny", "name: waiting")})
        assert sent.status_code == 201
    runs = service.serving.state / "runs"
    runs.mkdir()
    run = RunFolder.make(runs, "1-a", RunRequest(str(service.serving.reading.root), None, None), TINY, None)
    run.log.write_text("one\ntwo\n")


@pytest.mark.parametrize(("path", "options", "begin", "number"), PAGES)
def test_a_page_behind_any_key_is_answered(
    admin: httpx.Client, path: str, options: dict[str, str], begin: list[str], number: int
) -> None:
    for values in itertools.product(VALUES, repeat=number):
        after = made_up([*begin, *values])
        answer = admin.get(f"/api/v1/{path}", params=options | {"after": after})
        assert answer.status_code in (200, 400), (values, answer.text)
        if answer.status_code == 400:
            assert answer.json()["detail"].startswith("after: ")


def test_a_key_comes_back_as_it_was() -> None:
    key = ("a", 1.5, None, True, 2**63 - 1)
    assert key_of(cursor_of(*key), *[object] * 5) == list(key)


@pytest.mark.parametrize("number", ["²", "9" * 5000, "-1", "", "1e3"])
def test_a_stream_behind_no_event_begins_anew(service: RunningService, admin: httpx.Client, number: str) -> None:
    headers = {"Last-Event-ID": f"{service.feed.name}-{number}".encode("latin-1")}
    with admin.stream("GET", "/api/v1/events", headers=headers) as events:
        lines = events.iter_lines()
        assert next(lines).startswith("retry: ")
        assert next(line for line in lines if line.startswith("event: ")) == "event: reset"

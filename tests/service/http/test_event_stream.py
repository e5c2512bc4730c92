"""The stream of events: what changed, within seconds, each once, also after a break; and its limits."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kd_sweep.service.access.roles import Role
from kd_sweep.service.http.routes import event_routes
from kd_sweep.storage.root import Root
from kd_sweep.tables.writer import StudyWriter
from tests.service.running_service import RunningService, running
from tests.tables.rows import epoch_row, trial_id, trial_row, write_study
from tests.tiny_study import TINY

NUM_TRIALS = 3


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    """A service on a root with a study of 3 trials and 4 epochs."""
    (tmp_path / "state").mkdir()
    write_study(tmp_path / "root", num_trials=NUM_TRIALS)
    with running(tmp_path / "root", tmp_path / "state", max_streams=4) as started:
        yield started


class Watcher:
    """A client of the stream; `until` reads events until one is of a kind."""

    def __init__(self, client: httpx.Client, **options: Any) -> None:
        self._context = client.stream("GET", "/api/v1/events", **options)

    def __enter__(self) -> "Watcher":
        self.answer = self._context.__enter__()
        self._lines = self.answer.iter_lines()
        self.last_id = ""
        return self

    def __exit__(self, *exc: object) -> None:
        self._context.__exit__(None, None, None)

    def next(self) -> tuple[str, dict[str, Any]]:
        kind, data = "", None
        for line in self._lines:
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
            elif line.startswith("id: "):
                self.last_id = line.removeprefix("id: ")
            elif not line and data is not None:
                return kind, data
        raise EOFError

    def until(self, *kinds: str) -> dict[str, Any]:
        while True:
            kind, data = self.next()
            if kind in kinds:
                return data


def looked(service: RunningService) -> None:
    """Wait until the feed knows what there is."""
    feed = service.feed
    end = time.monotonic() + 20
    while "digits" not in feed._studies:
        assert time.monotonic() < end
        time.sleep(0.05)


def add_epochs(root: Path, first: int, last: int) -> None:
    with StudyWriter(Root.open(root), "digits") as writer:
        for epoch in range(first, last + 1):
            for number in range(NUM_TRIALS):
                writer.add_epoch(epoch_row(number, epoch))
                writer.upsert_trial(trial_row(number, "running", last_epoch=epoch))
            writer.flush()


def test_epochs_come_soon_and_once(service: RunningService, tmp_path: Path) -> None:
    with service.client(Role.VIEWER) as client, Watcher(client) as watcher:
        assert watcher.answer.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in watcher.answer.headers
        assert watcher.next()[0] == "hello"
        looked(service)
        add_epochs(tmp_path / "root", 5, 20)
        begun, seen = time.monotonic(), []
        while len(seen) < 16 * NUM_TRIALS:
            new = watcher.until("epochs")
            assert (new["name"], new["is_cut"]) == ("digits", False)
            columns = new["columns"]
            seen += zip(columns["trial_id"], columns["epoch"], columns["val_accuracy"], strict=True)
        assert time.monotonic() - begun < 30
        expected = [(trial_id(n), e, epoch_row(n, e)["val_accuracy"]) for n in range(NUM_TRIALS) for e in range(5, 21)]
        assert sorted(seen) == sorted(expected)


def test_a_stream_goes_on_where_it_was_cut_off(service: RunningService, admin: httpx.Client) -> None:
    with service.client() as client, Watcher(client) as watcher:
        watcher.until("hello")
        looked(service)
        admin.post("/api/v1/studies", json={"yaml": TINY}).raise_for_status()
        assert watcher.until("study")["state"] == "queued"
        cursor = watcher.last_id
        admin.patch("/api/v1/studies/tiny", json={"wanted": "pause"}).raise_for_status()
        assert watcher.until("study")["state"] == "paused"
    with service.client() as client, Watcher(client, headers={"Last-Event-ID": cursor}) as watcher:
        kind, data = watcher.next()
        assert (kind, data["state"]) == ("study", "paused")
        admin.patch("/api/v1/studies/tiny", json={"priority": 4}).raise_for_status()
        assert watcher.until("study")["priority"] == 4
    for unknown in ("0000-3", "nonsense", f"{cursor}9999"):
        with service.client() as client, Watcher(client, params={"after": unknown}) as watcher:
            assert watcher.next()[0] == "reset"


def test_a_stream_of_one_study_has_no_others(service: RunningService, admin: httpx.Client) -> None:
    with service.client() as client, Watcher(client, params={"study": "second"}) as watcher:
        watcher.until("hello")
        looked(service)
        for name in ("first", "second"):
            admin.post("/api/v1/studies", json={"yaml": TINY, "name": name}).raise_for_status()
        assert watcher.until("study")["name"] == "second"


def test_streams_are_counted_and_bounded(service: RunningService, admin: httpx.Client) -> None:
    with service.client() as client, Watcher(client), Watcher(client):
        refused = admin.get("/api/v1/events")
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "10"
        with service.client(Role.VIEWER) as other, Watcher(other):
            assert "kd_sweep_event_streams 3\n" in admin.get("/metrics").text
    end = time.monotonic() + 20
    while "kd_sweep_event_streams 0\n" not in admin.get("/metrics").text:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_stream_ends_with_its_token(
    service: RunningService, admin: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_routes, "HEARTBEAT_S", 0.2)
    with service.client(Role.VIEWER) as client, Watcher(client) as watcher:
        assert watcher.until("heartbeat")["time"] == pytest.approx(time.time(), abs=30)
        admin.delete("/api/v1/tokens/the viewer").raise_for_status()
        with pytest.raises(EOFError):
            watcher.until("never")

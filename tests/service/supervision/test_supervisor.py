"""The supervisor with real driver processes that end before they need Ray: a cluster is named where none is."""

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kd_sweep.service.queue import changes
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.position import position
from kd_sweep.service.queue.study_files import check
from kd_sweep.service.queue.submissions import get, listing, submit
from kd_sweep.service.rows.models import Submission
from kd_sweep.service.service_core import ServiceCore
from kd_sweep.service.service_settings import service_settings
from kd_sweep.service.supervision import supervisor
from kd_sweep.service.supervision.drivers import Drivers
from kd_sweep.service.supervision.local_head import LocalHead
from kd_sweep.service.supervision.run_folder import RunFolder
from kd_sweep.service.webhooks import subscriptions
from tests.polling import until
from tests.service.webhooks.receiver import Receiver
from tests.tiny_study import TINY

NOWHERE = "127.0.0.1:9"


@pytest.fixture
def core(tmp_path: Path) -> Iterator[ServiceCore]:
    policy = Policy(allow_private_webhooks=True, data_folders=(Path("/nowhere"),))
    settings = service_settings(str(tmp_path / "root"), state=tmp_path / "state", address=NOWHERE, policy=policy)
    made = ServiceCore(settings)
    made.start()
    yield made
    made.stop()


def put(core: ServiceCore, name: str, **options: object) -> None:
    with core.changing() as session:
        submit(session, check(TINY.replace("tiny", name), Policy()), **{"by": "anna", "policy": Policy(), **options})


def row(core: ServiceCore, name: str) -> Submission:
    with core.reading() as session:
        return get(session, name)


def test_studies_that_are_refused_fail_in_order_and_are_told_of(core: ServiceCore, receiver: Receiver) -> None:
    with core.changing() as session:
        subscriptions.add(session, receiver.url, by="anna", policy=core.settings.policy)
        for name, priority in (("first", 0), ("urgent", 1)):
            study = check(f"name: {name}\nteacher: {{weights: /nowhere/w.pth}}", core.settings.policy)
            submit(session, study, by="anna", policy=core.settings.policy, priority=priority)
    until(lambda: row(core, "first").state == "failed")
    assert str(row(core, "first").message).startswith("teacher.weights: '/nowhere/w.pth' is no file")
    assert row(core, "urgent").ended_at < row(core, "first").started_at
    until(lambda: receiver.events() == [("urgent", "failed"), ("first", "failed")])
    assert "is no file" in RunFolder(core.settings.runs / str(row(core, "first").run_id)).log.read_text()
    assert core.why_idle() is None

    before = row(core, "first").run_id
    with core.changing() as session:
        changes.retry(session, "first")
    until(lambda: row(core, "first").run_id != before and row(core, "first").state == "failed")
    with core.changing() as session:
        changes.delete(session, "first")
        changes.delete(session, "urgent")
    until(lambda: not names(core))
    assert list(core.settings.runs.iterdir()) == []


def names(core: ServiceCore) -> list[str]:
    with core.reading() as session:
        return [one.name for one in listing(session)]


def test_a_driver_that_dies_at_once_is_started_again_and_can_be_stopped_meanwhile(core: ServiceCore) -> None:
    put(core, "first")
    put(core, "second")
    until(lambda: row(core, "first").driver_pid is not None)
    os.kill(int(str(row(core, "first").driver_pid)), signal.SIGKILL)
    until(lambda: row(core, "first").next_start_at is not None)
    assert row(core, "first").message == "its driver ended (it was ended by SIGKILL); attempt 2 follows after 5 s"
    assert (row(core, "first").num_failures, row(core, "second").state) == (1, "queued")
    with core.reading() as session:
        assert "held by first (starting again in" in position(session, "second", 1).why
    with core.changing() as session:
        changes.pause(session, "first")
    until(lambda: row(core, "first").state == "paused")
    until(lambda: row(core, "second").next_start_at is not None)  # the slot was free; a cluster may come back
    reason = f"--address {NOWHERE}: nothing answers there (Connection refused)"
    assert row(core, "second").message == f"its driver ended ({reason}); attempt 2 follows after 5 s"
    with core.changing() as session:
        changes.cancel(session, "second")
    until(lambda: row(core, "second").state == "cancelled")


def test_nobody_waits_for_a_driver_to_start(core: ServiceCore, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_go_on, start = threading.Event(), threading.Event(), Drivers.start

    def slow(*arguments: Any) -> int:
        begun.set()
        may_go_on.wait(60)
        return start(*arguments)

    monkeypatch.setattr(Drivers, "start", slow)
    put(core, "first")
    assert begun.wait(60)
    before = time.monotonic()
    put(core, "second")
    assert time.monotonic() - before < 30
    assert not may_go_on.is_set()
    may_go_on.set()
    until(lambda: row(core, "first").driver_pid is not None)


def test_a_disk_that_keeps_drivers_from_starting_is_no_fault_of_the_study(
    core: ServiceCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "RETRY_S", 0.5)
    core.settings.runs.rmdir()
    core.settings.runs.touch()
    put(core, "first")
    until(lambda: "Not a directory" in str(row(core, "first").message))
    assert (row(core, "first").state, row(core, "first").num_failures) == ("running", 0)
    until(lambda: "a driver cannot be started: " in str(core.why_idle()))
    core.settings.runs.unlink()
    core.settings.runs.mkdir()
    until(lambda: row(core, "first").run_id is not None)
    until(lambda: row(core, "first").num_failures == 1)  # the one that was started has found no cluster
    assert core.why_idle() is None


def test_a_study_whose_files_are_damaged_holds_up_no_other(core: ServiceCore) -> None:
    put(core, "first")
    until(lambda: row(core, "first").driver_pid is not None)
    core.stop()
    folder = RunFolder(core.settings.runs / str(row(core, "first").run_id))
    until(lambda: folder.end() is not None)
    (folder.path / "driver.json").write_text("{}")

    again = ServiceCore(dataclasses.replace(core.settings, max_studies=2))
    again.start()
    put(again, "second")
    until(lambda: row(again, "second").next_start_at is not None)
    assert "KeyError" in str(again.why_idle())
    again.stop()


def test_a_head_that_cannot_start_is_tried_again_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("x" * 120)))
    head = LocalHead(tmp_path)
    until(lambda: head.ready() is None and head.problem is not None)
    assert "is too long a path for Ray's sockets" in str(head.problem)
    head.end()
    token = tmp_path / "ray-token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert head.settings()["RAY_AUTH_TOKEN"] == token.read_text() == LocalHead(tmp_path).settings()["RAY_AUTH_TOKEN"]

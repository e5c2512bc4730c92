"""A driver that is suspended before one of its file operations, and goes on after another has taken over."""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from kd_sweep.errors import StudyLockedError
from kd_sweep.storage import root as root_module
from kd_sweep.storage.lease import Lease
from kd_sweep.storage.process_identity import this_pid_scope
from kd_sweep.storage.root import Root
from kd_sweep.tables.study_lease import study_lease
from kd_sweep.tables.writer import StudyWriter
from tests.tables.rows import epoch_row, trial_id, trial_row
from tests.warm_python import warm_with

FRESH = warm_with(__name__)
"""Gives each driver a process of its own that has imported all it needs."""
STUDY = "s"
FIRST, SECOND = "first", "second"
"""Hosts: they tell whose rows are whose."""


class Ended(NamedTuple):
    """How a driver's steps went."""

    term: int
    """Of its lease; 0 where it got none."""
    steps: list[tuple[str, str]]
    """Each step with ``done`` or ``locked``."""
    stopped_in: str
    """The step in which it was suspended; empty where it had fewer operations."""


def extend(writer: StudyWriter, host: str, status: str) -> None:
    """Give each of three trials its next epoch, and every table a change."""
    for number in range(3):
        epoch = writer.last_epochs.get(trial_id(number), 0) + 1
        writer.add_epoch(epoch_row(number, epoch, host=host))
        writer.upsert_trial(trial_row(number, status, last_epoch=epoch, host=host))
    writer.upsert_teacher({"teacher_id": host, "host": host})
    writer.set_study(status=status)


class _Watched:
    """Suspends this process before one of the file operations of one of its threads."""

    def __init__(self, stop_at: int, of_heartbeat: bool) -> None:
        self._stop_at, self._of_heartbeat = stop_at, of_heartbeat
        self._operations = 0
        self._is_in_delete = False
        self.step = self.stopped_in = ""

    def count(self) -> None:
        if not self.step or (threading.current_thread() is threading.main_thread()) == self._of_heartbeat:
            return
        self._operations += 1
        if self._operations == self._stop_at:
            self.stopped_in = self.step
            os.kill(os.getpid(), signal.SIGSTOP)

    def local(self) -> None:
        def count_writes(event: str, arguments: tuple[Any, ...]) -> None:
            is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if is_write or event in ("os.rename", "os.remove", "os.mkdir", "os.link"):
                self.count()

        delete = Root.delete

        def counted(root: Root, name: str) -> None:
            self.count()
            delete(root, name)

        Root.delete = counted  # type: ignore[method-assign]
        sys.addaudithook(count_writes)

    def store(self) -> None:
        persistently = root_module.persistently

        def counted(operation: Callable[[], Any]) -> Any:
            self.count()
            return persistently(operation)

        root_module.persistently = counted


class _Driver:
    """The steps of the first driver, by name."""

    def __init__(self, root: Root, lease_s: float, pause_s: float) -> None:
        self._root, self._lease_s, self._pause_s = root, lease_s, pause_s
        self.lease: Lease | None = None
        self.writer: StudyWriter | None = None

    def take(self) -> None:
        self.lease = study_lease(self._root.child(STUDY), STUDY, lease_s=self._lease_s)

    def begin(self) -> None:
        self.writer = StudyWriter(self._root, STUDY, lease=self.lease)

    def flush(self) -> None:
        assert self.writer is not None
        extend(self.writer, FIRST, "running")
        self.writer.flush()
        time.sleep(self._pause_s)

    def close(self) -> None:
        assert self.writer is not None
        extend(self.writer, FIRST, "completed")
        self.writer.close()

    def release(self) -> None:
        assert self.lease is not None
        self.lease.release()


def drive(
    location: str, lease_s: float, stop_at: int, of_heartbeat: bool, environment: dict[str, str], outcome: Connection
) -> None:
    """Take the study over as from another host, write, end; send how each step went."""
    os.environ |= environment
    socket.gethostname = lambda: "elsewhere"
    this_pid_scope.cache_clear()
    root = Root.open(location)
    watched = _Watched(stop_at, of_heartbeat)
    watched.local() if root.is_local else watched.store()
    driver, steps = _Driver(root, lease_s, pause_s=lease_s / 5 if of_heartbeat else 0.0), []
    for step in (driver.take, driver.begin, *[driver.flush] * 2, driver.close, driver.release):
        watched.step = step.__name__
        try:
            step()
            steps.append((step.__name__, "done"))
        except StudyLockedError:
            steps.append((step.__name__, "locked"))
            if driver.writer is None:
                break
    watched.step = ""
    outcome.send(Ended(driver.lease.term if driver.lease else 0, steps, watched.stopped_in))
    if driver.lease is not None:
        with contextlib.suppress(StudyLockedError):
            driver.lease.release()


def start(location: str, lease_s: float, stop_at: int, of_heartbeat: bool = False) -> tuple[BaseProcess, Connection]:
    """Start a driver that is suspended before this operation."""
    receiver, sender = FRESH.Pipe(duplex=False)
    driver = FRESH.Process(target=drive, args=(location, lease_s, stop_at, of_heartbeat, dict(os.environ), sender))
    driver.start()
    sender.close()
    return driver, receiver


def wait_until_suspended(driver: BaseProcess, outcome: Connection) -> bool:
    """Return True once the driver is suspended, False if it ends without having been."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if outcome.poll(0.02) or not driver.is_alive():
            return False
        if _state(driver.pid) == "T":
            return True
    raise TimeoutError


def _state(pid: int | None) -> str:
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()[0]

"""The loop that brings rows and processes together: it starts, stops and follows drivers, and notes how they end."""

import logging
import threading
import time

from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from kd_sweep.errors import KdSweepError, RayStartError, StorageError
from kd_sweep.service.queue.order import holders, next_ones
from kd_sweep.service.queue.states import ENDED, HOLDING
from kd_sweep.service.rows.database import Database
from kd_sweep.service.rows.models import Submission
from kd_sweep.service.service_settings import ServiceSettings
from kd_sweep.service.supervision.drivers import Drivers
from kd_sweep.service.supervision.local_head import LocalHead
from kd_sweep.service.supervision.removals import Removals
from kd_sweep.service.supervision.transitions import Next, after_end, is_due
from kd_sweep.service.webhooks.subscriptions import tell
from kd_sweep.storage.lease import Lease

TICK_S = 0.5
IDLE_S = 60.0
"""How long a head is kept that no study needs."""
RETRY_S = 30.0
"""After which a driver is tried again that the disk has kept from starting."""
STUCK_S = 120.0
"""After so long in one round the supervisor counts as stuck."""
_LOG = logging.getLogger(__name__)


class Supervisor:
    """The one that runs the studies of a root. Everything it needs to know is in rows and files.

    Args:
        settings: of the service.
        database: its rows.
        lease: of the root; while it is held nobody else does this.
    """

    def __init__(self, settings: ServiceSettings, database: Database, lease: Lease) -> None:
        self._settings = settings
        self._database = database
        self._lease = lease
        self._drivers = Drivers(settings.runs, settings.root)
        self._head = LocalHead(settings.state) if settings.address is None else None
        self._removals = Removals(settings.root)
        self._needed_at = self._tried_at = time.monotonic()
        self._problem: str | None = None
        self._idle_at: object = None
        """The stamp of rows that had nothing to do."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="supervisor", daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        if self._head is not None:
            self._head.need()
        self._thread.start()

    def stop(self) -> None:
        """End. Drivers and the Ray under them go on; a head that nobody needs ends too."""
        self._ended.set()
        self._thread.join()
        if self._head is not None:
            if not self._num_held():
                self._head.end()
            self._head.leave()

    @property
    def problem(self) -> str | None:
        """Why the queue is not worked off, on one line; None where it is."""
        if not self._thread.is_alive():
            return "the supervisor of studies has ended"
        silent_s = time.monotonic() - self._tried_at
        return self._problem if silent_s < STUCK_S else f"the supervisor of studies has waited for {silent_s:.0f} s"

    def _work(self) -> None:
        while not self._ended.wait(TICK_S):
            self._tried_at = time.monotonic()
            try:
                self._lease.check()
                failures = self.tick()
            except Exception as error:
                failures = [error]
            self._note_failures(failures)

    def _note_failures(self, failures: list[Exception]) -> None:
        """Keep why the last round has failed, and log it once for as long as it stays the same."""
        before, self._problem = self._problem, None
        for error in failures:
            is_known = isinstance(error, KdSweepError)
            problem = str(error) if is_known else f"{type(error).__name__}: {error}"
            self._problem = self._problem or problem
            if before is None or problem != before:
                _LOG.warning("the supervisor goes on after: %s", problem, exc_info=None if is_known else error)

    def tick(self) -> list[Exception]:
        """Do what can be done now, and wait for nothing. Returns what has failed for single studies."""
        stamp = self._database.stamp()
        if stamp == self._idle_at:
            self._keep_head(is_needed=False)
            return []
        with self._database.reading() as session:
            held = holders(session)
            deleted = session.scalars(select(Submission).where(Submission.wanted == "delete")).all()
            queued = bool(next_ones(session, 1))
        self._idle_at = None if held or deleted or queued else stamp
        failures: list[Exception] = []
        held_ids = {row.id for row in held}
        steps = [(self._follow, row) for row in held]
        steps += [(self._remove, row) for row in deleted if row.id not in held_ids]
        for step, row in steps:
            try:
                step(row)
            except Exception as error:  # no other study waits for it
                failures.append(error)
        free = self._settings.max_studies - len(held)
        due = [row for row in held if row.run_id is None and is_due(row.next_start_at, time.time())]
        if due or (queued and free > 0):
            self._start(due, free)
        self._keep_head(is_needed=bool(held))
        return failures

    def _follow(self, row: Submission) -> None:
        """Stop the driver of a study where that is wanted, and note its end."""
        if row.run_id is None:
            if row.wanted != "run":  # while it waits to be started again
                self._note(row, Next("paused" if row.wanted == "pause" else "cancelled", row.wanted))
            return
        if self._drivers.is_alive(row.run_id):
            has_ended = self._drivers.folder(row.run_id).end() is not None  # and its process stays
            if row.wanted != "run" or row.state == "pausing" or has_ended:
                self._drivers.stop(row.run_id)
            return
        self._end(row)

    def _end(self, row: Submission) -> None:
        assert row.run_id is not None
        folder = self._drivers.folder(row.run_id)
        following = after_end(
            folder.end(),
            wanted=row.wanted,
            was_stopped=row.state == "pausing",
            progressed=folder.has_progressed,
            num_failures=row.num_failures,
            why=self._drivers.why_it_died(row.run_id),
            now=time.time(),
        )
        if self._note(row, following):
            self._drivers.forget(row.run_id)

    def _note(self, seen: Submission, following: Next) -> bool:
        """Write how a study stands; return False where its row has changed since it was read: the next tick does it."""
        with self._database.changing() as session:
            row = session.get(Submission, seen.id)
            if row is None or row.revision != seen.revision:
                return False
            row.state, row.wanted, row.message = following.state, following.wanted, following.message
            row.num_failures, row.next_start_at = following.num_failures, following.next_start_at
            row.driver_pid = None
            if following.state == "running":
                row.run_id = None
            else:
                row.ended_at = None if following.state == "queued" else time.time()
            row.revision += 1
            if following.state in ENDED:
                tell(session, row, time.time())
        _LOG.info("study %s is %s%s", seen.name, following.state, f": {following.message}" if following.message else "")
        return True

    def _start(self, due: list[Submission], free: int) -> None:
        address, settings = self._settings.address, {}
        if self._head is not None:
            self._needed_at = time.monotonic()
            head = self._head.ready()
            if head is None:
                if self._head.problem is not None:
                    self._say(self._head.problem)
                    raise RayStartError(self._head.problem)
                return
            address, settings = head.address, self._head.settings()
        for row in due:
            self._start_one(row.id, address, settings)
        for _ in range(free):
            with self._database.reading() as session:
                following = next_ones(session, 1)
            if not following or not self._start_one(following[0].id, address, settings):
                return

    def _say(self, problem: str) -> None:
        """Let the study that would start next say why it does not."""
        with self._database.changing() as session:
            for row in next_ones(session, 1):
                row.message = problem

    def _start_one(self, submission_id: int, address: str | None, settings: dict[str, str]) -> bool:
        """Start the driver of a study, if it still is to run. The row names the run before there is a process."""
        with self._database.changing() as session:
            row = session.get(Submission, submission_id)
            if row is None or row.wanted != "run" or row.state not in ("queued", *HOLDING):
                return False
            row.state, row.run_id, row.next_start_at, row.message = "running", self._drivers.new_run(row), None, None
            row.started_at = row.started_at or time.time()
            row.revision += 1
        with self._database.reading() as session:
            row = session.get_one(Submission, submission_id, options=[undefer(Submission.plugins_zip)])
        try:
            pid = self._drivers.start(row, address, settings)  # takes its time, for which no other change waits
        except OSError as error:  # of the disk with the runs: no fault of the study's
            raise self._not_started(submission_id, error) from None
        with self._database.changing() as session:
            session.get_one(Submission, submission_id).driver_pid = pid
        _LOG.info("study %s has the driver %s", row.name, pid)
        return True

    def _not_started(self, submission_id: int, error: OSError) -> StorageError:
        """Note that a driver could not be started, and that it is tried again; return why."""
        why = f"{error.filename or self._settings.runs}: {error.strerror}"
        with self._database.changing() as session:
            row = session.get_one(Submission, submission_id)
            row.run_id, row.next_start_at = None, time.time() + RETRY_S
            row.message = f"its driver cannot be started ({why}); it is tried again after {RETRY_S:.0f} s"
        return StorageError(f"a driver cannot be started: {why}")

    def _remove(self, row: Submission) -> None:
        if not self._removals.is_done(row.name):
            problem = self._removals.problem(row.name)
            if problem is not None and problem != row.message:
                with self._database.changing() as session:
                    session.get_one(Submission, row.id).message = problem
            return
        self._drivers.remove_runs(row.id)
        with self._database.changing() as session:
            _delete(session, row.id)
        _LOG.info("study %s is deleted", row.name)

    def _keep_head(self, *, is_needed: bool) -> None:
        """Keep the head while studies run, and for a while after them."""
        if self._head is None:
            return
        if is_needed:
            self._needed_at = time.monotonic()
        elif time.monotonic() - self._needed_at > IDLE_S:
            self._head.end()

    def _num_held(self) -> int:
        with self._database.reading() as session:
            return len(holders(session))


def _delete(session: Session, submission_id: int) -> None:
    row = session.get(Submission, submission_id)
    if row is not None:
        session.delete(row)

"""A results root with a service, as tests see both: rows, processes, and ways to end each of them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kd_sweep.driver.ray.shared_head import SharedHead, read_head
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.study_files import check
from kd_sweep.service.queue.submissions import get, listing, submit
from kd_sweep.service.rows.database import Database
from kd_sweep.service.rows.models import Submission
from kd_sweep.service.service_settings import service_settings
from kd_sweep.service.supervision.run_folder import RunFolder
from tests.command_line import WORKER_START, environment
from tests.warm_python import worker_start

WAIT_S = 120.0


class ServedRoot:
    """A root below a folder, and the service that runs its studies."""

    def __init__(self, folder: Path, max_studies: int = 1) -> None:
        self.root, self._state, self._max_studies = folder / "root", folder / "state", max_studies
        self.settings = service_settings(str(self.root), state=self._state)
        self.database = Database(self.settings.database)
        self.log = folder / "service.log"
        self.progressed_at = 0.0
        """When the driver that was waited for had its first epoch, by its own word."""
        self.start()

    def start(self) -> None:
        """Start a service, and wait until it has begun."""
        command = [sys.executable, "-m", "tests.service.supervision.service_process", str(self.root), str(self._state)]
        variables = environment() | {WORKER_START: worker_start()}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, str(self._max_studies)], env=variables, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline().strip()

    def stop(self) -> int:
        """Stop the service as an operator does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def submit(self, text: str, **options: object) -> None:
        with self.database.changing() as session:
            submit(session, check(text, Policy()), **{"by": "anna", "policy": Policy(), **options})

    def change(self, change: Callable[..., object], *arguments: object) -> None:
        with self.database.changing() as session:
            change(session, *arguments)

    def row(self, name: str) -> Submission:
        with self.database.reading() as session:
            return get(session, name)

    def names(self) -> list[str]:
        with self.database.reading() as session:
            return [row.name for row in listing(session)]

    def run(self, name: str) -> RunFolder:
        """Return the folder of the latest run of a study."""
        return RunFolder(self.settings.runs / str(self.row(name).run_id))

    def said(self, name: str, text: str) -> bool:
        """Whether the driver of a study has printed something."""
        row = self.row(name)
        return row.driver_pid is not None and text in self.run(name).log.read_text()

    def head(self) -> SharedHead | None:
        head = read_head(self._state / "head.json")
        return head if head is not None and head.is_alive else None

    def until(self, what: str, is_so: Callable[[], bool]) -> None:
        """Wait for something."""
        deadline = time.monotonic() + WAIT_S
        while not is_so():
            assert time.monotonic() < deadline, f"{what}: not after {WAIT_S} s\n{self._logs()}"
            time.sleep(0.05)

    def until_state(self, name: str, *states: str) -> Submission:
        self.until(f"{name} is {states}", lambda: self.row(name).state in states)
        return self.row(name)

    def until_epoch(self, name: str, other_than: int | None = None) -> int:
        """Wait until a driver other than this one has seen an epoch end, and return its pid."""

        def is_so() -> bool:
            row = self.row(name)
            if row.run_id is None or row.state != "running":
                return False
            driver = self.run(name).driver()
            return driver is not None and driver[0] != other_than and self.run(name).has_progressed

        self.until(f"{name} has a driver with an epoch", is_so)
        self.progressed_at = (self.run(name).path / "progressed").stat().st_mtime
        driver = self.run(name).driver()
        assert driver is not None
        return driver[0]

    def kill(self, *who: str, study: str) -> None:
        """End processes without a warning: `driver`, `head`, `service`, in this order."""
        for one in who:
            if one == "service":
                self.process.kill()
                self.process.wait()
                continue
            head, driver = self.head(), self.run(study).driver()
            target = (head.pid if head else None) if one == "head" else (driver[0] if driver else None)
            assert target is not None, one
            os.kill(target, signal.SIGKILL)

    @contextmanager
    def suspended(self, study: str) -> Iterator[None]:
        """Suspend the driver of a study, so that the study cannot end while the block runs."""
        driver = self.run(study).driver()
        assert driver is not None
        os.kill(driver[0], signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):  # it may have been killed meanwhile
                os.kill(driver[0], signal.SIGCONT)

    def close(self) -> None:
        """End everything: the service, then drivers and the head that it left."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        head = self.head()
        for path in self.settings.runs.iterdir():
            driver = RunFolder(path).driver()
            if driver is not None and RunFolder(path).driver_is_alive:
                os.kill(driver[0], signal.SIGKILL)
        if head is not None:
            os.kill(head.pid, signal.SIGTERM)
        self.database.close()

    def _logs(self) -> str:
        logs = [self.log, self._state / "head.log", *self.settings.runs.glob("*/driver.log")]
        return "\n".join(f"--- {log}\n{log.read_text()[-3000:]}" for log in logs if log.exists())

"""The drivers of a service: processes of their own that outlive it; they are started, told to stop, and followed."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

from kd_sweep.service.rows.models import Submission
from kd_sweep.service.supervision.run_folder import RunFolder, RunRequest

_DRIVER = "kd_sweep.service.supervision.driver_process"
STOP_S, KILL_S = 60.0, 90.0
"""After so long a driver that was told to stop is told once more, which ends it at once, and then killed."""
KEPT_RUNS = 10
"""Of one study, with their logs."""


class Drivers:
    """What runs studies.

    Args:
        runs: the folder with a folder for each run.
        root: the results root.
    """

    def __init__(self, runs: Path, root: str) -> None:
        self._runs = runs
        self._root = root
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._told_at: dict[str, float] = {}

    def folder(self, run_id: str) -> RunFolder:
        """Return the folder of a run."""
        return RunFolder(self._runs / run_id)

    def new_run(self, row: Submission) -> str:
        """Return an id for the next run of a study, after removing the oldest of it."""
        earlier = sorted(self._runs.glob(f"{row.id}-*"), key=lambda path: path.stat().st_mtime)
        for path in earlier[: -KEPT_RUNS + 1]:
            RunFolder(path).remove()
        return f"{row.id}-{secrets.token_hex(6)}"

    def start(self, row: Submission, address: str | None, settings: dict[str, str]) -> int:
        """Start the driver of a study whose row has the id of the run; return its pid.

        Args:
            row: of the study.
            address: of the Ray that it joins.
            settings: added to its environment.
        """
        assert row.run_id is not None
        request = RunRequest(self._root, address, row.slots)
        folder = RunFolder.make(self._runs, row.run_id, request, row.study_yaml, row.plugins_zip)
        with folder.log.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", _DRIVER, str(folder.path)],
                env=os.environ | settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._children[row.run_id] = child
        return child.pid

    def is_alive(self, run_id: str) -> bool:
        """Whether the driver of a run lives. One that has not said yet that it does is kept from beginning."""
        child = self._children.get(run_id)
        if child is not None:
            return child.poll() is None
        folder = self.folder(run_id)
        if folder.driver() is None and folder.path.exists():
            folder.claim(None)
        return folder.driver_is_alive

    def stop(self, run_id: str) -> None:
        """Tell a driver to stop, and end it if it does not. Called again and again."""
        pid = self._pid(run_id)
        if pid is None:
            return
        now = time.monotonic()
        told_at = self._told_at.get(run_id)
        with contextlib.suppress(ProcessLookupError):
            if told_at is None:
                self._told_at[run_id] = now
                os.kill(pid, signal.SIGTERM)
            elif now - told_at > KILL_S:
                os.kill(pid, signal.SIGKILL)
            elif now - told_at > STOP_S:
                os.kill(pid, signal.SIGTERM)

    def why_it_died(self, run_id: str) -> str:
        """Return what is known of the death of a driver that could not say why."""
        child = self._children.get(run_id)
        code = None if child is None else child.poll()
        if code is not None and code < 0:
            return f"it was ended by {signal.Signals(-code).name}"
        return self.folder(run_id).last_line() or "it ended without a word"

    def forget(self, run_id: str) -> None:
        """Keep no more of a run whose driver has ended and whose end is noted."""
        self._children.pop(run_id, None)
        self._told_at.pop(run_id, None)

    def remove_runs(self, submission_id: int) -> None:
        """Remove the folders of all runs of a study."""
        for path in self._runs.glob(f"{submission_id}-*"):
            RunFolder(path).remove()

    def _pid(self, run_id: str) -> int | None:
        child = self._children.get(run_id)
        if child is not None:
            return child.pid if child.poll() is None else None
        folder = self.folder(run_id)
        driver = folder.driver()
        return driver[0] if driver is not None and folder.driver_is_alive else None

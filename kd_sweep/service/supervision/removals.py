"""The removal of studies that users have deleted: `kd-sweep rm` in a process of its own, since it reads checkpoints."""

import subprocess
import sys
import time

from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import is_study

RETRY_S = 10.0


class Removals:
    """What removes the folders of studies.

    Args:
        root: the results root.
    """

    def __init__(self, root: str) -> None:
        self._root = Root.open(root)
        self._children: dict[str, subprocess.Popen[str]] = {}
        self._next_at: dict[str, float] = {}

    def is_done(self, study: str) -> bool:
        """Return whether a study's folder is gone; if it is not, remove it, and do not wait. Called again and again."""
        child = self._children.get(study)
        if child is not None and child.poll() is None:
            return False
        if not is_study(self._root.child(study)):
            self._children.pop(study, None)
            self._next_at.pop(study, None)
            return True
        if time.monotonic() >= self._next_at.get(study, 0.0):
            self._next_at[study] = time.monotonic() + RETRY_S
            command = [sys.executable, "-m", "kd_sweep", "rm", self._root.location_of(study), "--yes"]
            self._children[study] = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
        return False

    def problem(self, study: str) -> str | None:
        """Return why the last try has failed; None where none has."""
        child = self._children.get(study)
        if child is None or child.poll() in (None, 0) or child.stderr is None or child.stderr.closed:
            return None
        with child.stderr:
            lines = child.stderr.read().strip().splitlines()
        return lines[-1] if lines else f"kd-sweep rm ended with exit code {child.returncode}"

"""Processes for what the service does not do itself: they may load torch, take their time, and die."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kd_sweep.errors import UserError
from kd_sweep.service.http.answers.refusals import RefusedRequestError
from kd_sweep.service.http.slots import Slots

_SLOTS = Slots(2, 4, 30.0, "plans and images")
_NOT_FOR_IT = ("KD_SWEEP_SERVER", "KD_SWEEP_TOKEN")
"""Of the environment: it reads the folder, and asks no service."""
_FOR_IT = {
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "COLUMNS": "200",
    "NO_COLOR": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # others keep what they have once had
    "MALLOC_ARENA_MAX": "1",
    # What is larger goes back when it is freed: malloc would raise this by itself.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
    # And this with it: else each array of 0.1 MB costs page faults anew.
    "MALLOC_TRIM_THRESHOLD_": str(4 << 20),
}
"""Of the environment: one CPU, no GPU, no more memory than it needs; and plain messages."""
_MISTAKE = "kd-sweep: "
"""What the one line of a mistake begins with."""


class Children:
    """The processes that run for requests, which end with the service: it would wait for them otherwise."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._is_ending = False

    def begin(self) -> None:
        """Let processes be started."""
        self._is_ending = False

    def end(self) -> None:
        """Kill those that run, and let no other be started."""
        with self._lock:
            self._is_ending = True
            for process in self._running:
                process.kill()

    @contextmanager
    def started(self, command: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
        """Run a process while the block waits for it.

        Raises:
            RefusedRequestError: the service is ending.
        """
        with self._lock:
            if self._is_ending:
                raise RefusedRequestError(503, "the service is ending")
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=child_environment(),
            )
            self._running.add(process)
        try:
            yield process
        finally:
            with self._lock:
                self._running.discard(process)


CHILDREN = Children()
"""Those of this process, which serves one root at a time."""


def child_environment() -> dict[str, str]:
    """Return the environment of a process that the service starts for itself: it knows no service and no token."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_IT}
    return kept | _FOR_IT


def run_child(module: str, arguments: Sequence[str | Path], timeout_s: float) -> None:
    """Run a module of kd_sweep in a process of its own, on one CPU and no GPU, and wait for it.

    Args:
        module: its name.
        arguments: for it.
        timeout_s: after which it is killed.

    Raises:
        UserError: it has ended with a mistake of the user's: the same line.
        RefusedRequestError: too many run already, it has taken too long, or the service is ending.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with _SLOTS.one(), CHILDREN.started(command) as process:
        try:
            _, said = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise RefusedRequestError(504, f"{module}: took more than {timeout_s:g} s and was stopped") from None
    if process.returncode == 0:
        return
    mistake = next((line for line in reversed(said.splitlines()) if line.startswith(_MISTAKE)), None)
    if process.returncode == 2 and mistake is not None:
        raise UserError(mistake.removeprefix(_MISTAKE))
    last = said.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
    raise RefusedRequestError(500, f"{module}: failed: {last[0]}")

"""Processes of Ray and of kd_sweep that outlive the run of tests that has started them."""

import contextlib
import os
import re
import signal
import time
from pathlib import Path

RUN = "KD_SWEEP_TEST_RUN"
"""A variable of the environment: all that a run starts, and what that starts, inherits its value."""

KINDS = re.compile(r"ray::|\S*/ray/|\S*/(raylet|gcs_server)\b|\S+ -m kd_sweep\b|\S+ \S*/kd-sweep\b")
"""How their command lines begin, of what must not be left."""


def left_processes(run: str) -> dict[int, str]:
    """Return the command lines of such living processes of this run, by pid."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            if KINDS.match(command) and f"{RUN}={run}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = command
    return found


def end_what_is_left(run: str, patience_s: float) -> list[str]:
    """Wait for the end of such processes; kill those that are left then, and return their command lines."""
    deadline = time.monotonic() + patience_s
    while (left := left_processes(run)) and time.monotonic() < deadline:
        time.sleep(0.2)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return sorted(left.values())

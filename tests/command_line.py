"""The command line in a process of its own: how a test starts it, and what the process imported."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., subprocess.CompletedProcess[str]]
"""Run `kd-sweep` with arguments in a process of its own and wait for it: the fixture `kd_sweep`."""

Start = Callable[..., "subprocess.Popen[str]"]
"""Start `kd-sweep` with arguments in a process group of its own: the fixture `start_kd_sweep`."""

Cli = Callable[..., tuple[int, str, str]]
"""Run `kd-sweep` with arguments in this process; returns exit code, stdout and stderr: the fixture `cli`."""

COMMAND = [sys.executable, "-m", "kd_sweep"]


def environment() -> dict[str, str]:
    """Return an environment for a command: no colours, a wide terminal, no address of anybody's cluster."""
    kept = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "RAY_AUTH_MODE")}
    return kept | {"COLUMNS": "300", "NO_COLOR": "1", "PYTHONPATH": str(Path(__file__).parents[1])}


IMPORT_TIMES = ("PYTHONPROFILEIMPORTTIME", "1")
"""A setting with which Python says on stderr what it imports."""


def split_imports(stderr: str) -> tuple[set[str], str]:
    """Return the names of the packages that a process imported, by `IMPORT_TIMES`, and what else it said."""
    begin = "import time:"
    lines = stderr.splitlines(keepends=True)
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if line.startswith(begin)}
    assert "kd_sweep" in modules
    return modules, "".join(line for line in lines if not line.startswith(begin))

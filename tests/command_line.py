"""The command line in a process of its own: how a test starts it, and what the process imported."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.warm_python import WarmProcess

Run = Callable[..., subprocess.CompletedProcess[str]]
"""Run `kd-sweep` with arguments in a process of its own and wait for it: the fixture `kd_sweep`.

By name: its ``timeout`` in seconds, and the ``cpus`` of its Ray.
"""

Started = subprocess.Popen[str] | WarmProcess
"""A process of `kd-sweep` that runs."""

Start = Callable[..., Started]
"""Start `kd-sweep` with arguments in a process group of its own: the fixture `start_kd_sweep`.

By name: the ``cpus`` of its Ray, more ``variables`` of its environment, whether it ``forks_workers`` (`WarmProcess`).
"""

Cli = Callable[..., tuple[int, str, str]]
"""Run `kd-sweep` with arguments in this process; returns exit code, stdout and stderr: the fixture `cli`."""

COMMAND = [sys.executable, "-m", "kd_sweep"]
WORKER_START = "KD_SWEEP_TEST_WORKER_START"
"""A variable of the environment: the program by which the Ray of a service starts workers, if not kd_sweep's own."""
FORKING_SERVICE = [sys.executable, "-m", "tests.service.warm_service"]
"""The command for a service in whose environment that is."""


def environment(cpus: int = 1) -> dict[str, str]:
    """Return an environment for a command: no colours, a wide terminal, no address of anybody's cluster.

    Args:
        cpus: of a Ray that the command starts on this machine. A worker costs five seconds of CPU to start and the
            trials of tests a fraction of one to train, so a launch takes half as long with one slot as with two.
    """
    kept = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "RAY_AUTH_MODE")}
    ours = {"COLUMNS": "300", "NO_COLOR": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    return kept | ours | {"RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": cpus})}


IMPORT_TIMES = ("PYTHONPROFILEIMPORTTIME", "1")
"""A setting with which Python says on stderr what it imports."""


def split_imports(stderr: str) -> tuple[set[str], str]:
    """Return the names of the packages that a process imported, by `IMPORT_TIMES`, and what else it said."""
    begin = "import time:"
    lines = stderr.splitlines(keepends=True)
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if line.startswith(begin)}
    assert "kd_sweep" in modules
    return modules, "".join(line for line in lines if not line.startswith(begin))


def assert_one_line(result: tuple[int, str, str], *parts: str) -> None:
    """Hold what `Cli` returned against the form of a mistake: one line, with these parts in it."""
    code, out, err = result
    assert code == 2, (out, err)
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("kd-sweep: ")
    for part in parts:
        assert part in err, err

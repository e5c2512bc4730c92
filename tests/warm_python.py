"""Processes of Python for programs of tests: each is forked from one that has imported all that takes long."""

import gc
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

WARM = multiprocessing.get_context("forkserver")
DRIVER = (
    "cli",
    "driver.launch",
    "driver.progress",
    "driver.ray.connection",
    "driver.ray.preflight",
    "driver.tune.sweep",
)
"""What the command line loads of kd_sweep when it launches a study."""
WARM.set_forkserver_preload(
    [*(f"kd_sweep.{name}" for name in DRIVER), "kd_sweep.distill.trial", "tests.trained_studies"]
)

tempfile.gettempdir()  # remembered before a test sets TMPDIR, in which no socket of the first process may lie


def run_warm(
    program: str, folder: Path, variables: Mapping[str, str], stdin: str = "", timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a program as ``python -c`` does in a folder, a second sooner; no plug-in is loaded in its process before.

    Args:
        program: what is run as `__main__`.
        folder: where, and from where it can import modules.
        variables: its whole environment.
        stdin: what it can read.
        timeout_s: after which it is killed.

    Raises:
        TimeoutError: it took longer.
    """
    with tempfile.TemporaryDirectory() as streams:
        (Path(streams) / "0").write_text(stdin)
        process = WARM.Process(
            target=_run, args=(program, str(folder), dict(variables), streams, os.sched_getaffinity(0))
        )
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"not done after {timeout_s:g} s: {program}")
        out, err = ((Path(streams) / name).read_text() for name in "12")
    return subprocess.CompletedProcess(["python", "-c", program], process.exitcode, out, err)


def run_command(*arguments: str, variables: Mapping[str, str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run `kd-sweep` as ``python -m kd_sweep`` does in this folder, two seconds of CPU sooner."""
    program = f"from kd_sweep.cli import main\nmain({arguments!r})"
    return run_warm(program, Path.cwd(), variables, timeout_s=timeout_s)


def _run(program: str, folder: str, variables: dict[str, str], streams: str, cores: set[int]) -> None:
    gc.freeze()  # what all share is not looked through again by each
    os.sched_setaffinity(0, cores)
    tempfile.tempdir = None  # of the environment that was
    for number, flags in enumerate((os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)):
        os.dup2(os.open(f"{streams}/{number}", flags), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - multiprocessing has closed it
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    sys.path[:0] = [folder]
    sys.argv[:] = ["-c"]
    main = sys.modules["__main__"] = type(sys)("__main__")
    exec(compile(program, "<string>", "exec"), vars(main))

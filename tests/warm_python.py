"""Processes of Python for programs of tests: each is forked from one that has imported all that takes long."""
# ruff: noqa: PTH123, SIM115 - descriptors are opened here, for as long as a process lives

import functools
import gc
import multiprocessing
import multiprocessing.context
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TextIO

from tests import warm_workers

WARM = multiprocessing.get_context("forkserver")
"""Starts processes of functions. A process of pytest has one such first process, whoever asks for it."""
DRIVER = (
    "api.study",
    "cli",
    "driver.launch",
    "driver.progress",
    "driver.ray.connection",
    "driver.ray.preflight",
    "driver.ray.private",
    "driver.tune.optuna_source",
    "driver.tune.sweep",
    "tables.queries.named_queries",
)
"""What the command line loads of kd_sweep when it launches a study, by whatever sampler."""
RAYS = ("ray.dag", "ray.train.trainer", "pydantic.v1", "starlette.datastructures")
"""What Ray loads later, while it runs."""
LOADED = [*(f"kd_sweep.{name}" for name in DRIVER), *RAYS, "kd_sweep.distill.trial", "tests.trained_studies"]
"""What the first process has loaded when another is forked from it."""
WARM.set_forkserver_preload(LOADED)


def warm_with(module: str) -> multiprocessing.context.ForkServerContext:
    """Return `WARM`, for functions of a module that has them run in processes of their own, which the first loads too.

    Called while the module is imported. A list that another module sets by itself would replace this one.
    """
    LOADED.append(module)
    return WARM


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
        place = (str(folder), dict(variables), os.sched_getaffinity(0), worker_start())
        process = WARM.Process(target=_run, args=(program, streams, *place))
        process.start()
        process.join(timeout_s)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise TimeoutError(f"not done after {timeout_s:g} s: {program}")
        out, err = ((Path(streams) / name).read_text() for name in "12")
    return subprocess.CompletedProcess(["python", "-c", program], process.exitcode, out, err)


FORGET_OURS = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] in ("kd_sweep", "tests")]:
    del sys.modules[name]
"""
"""Begins a program that imports a copy of the package and of the tests, from its folder."""


def command_program(*arguments: str) -> str:
    """Return the program that does what ``python -m kd_sweep`` does with these arguments, two seconds of CPU sooner."""
    return f"from kd_sweep.cli import main\nmain({arguments!r})"


@functools.cache
def worker_start() -> str:
    """Return the program by which the Ray of such a process starts its workers, forked as it is itself."""
    folder = Path(tempfile.mkdtemp(prefix="of-workers-"))
    program = shutil.copy(warm_workers.__file__, folder / warm_workers.PROGRAM)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / warm_workers.SOCKET))
        listener.listen(64)
        command = [sys.executable, warm_workers.__file__, str(folder), str(listener.fileno())]
        subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], start_new_session=True)
    return str(program)


class WarmProcess:
    """A program that runs in a session of its own, forked as in `run_warm`: what a test needs of a `subprocess.Popen`.

    It reads nothing. Its output and errors are one stream, ``stdout``, or are added to a file.

    Args:
        program: what is run as `__main__`, in this folder.
        variables: its whole environment.
        log: the file.
        forks_workers: whether the workers of its Ray are forked, too; else Ray starts them, in the program's session.
    """

    def __init__(
        self, program: str, variables: Mapping[str, str], log: Path | None = None, *, forks_workers: bool = True
    ) -> None:
        receiver, sender = WARM.Pipe(duplex=False)
        output = sender if log is None else str(log)
        place = (str(Path.cwd()), dict(variables), os.sched_getaffinity(0), worker_start() if forks_workers else "")
        self._process = WARM.Process(target=_run_apart, args=(program, output, *place))
        self._process.start()
        sender.close()
        self.stdout = open(os.dup(receiver.fileno()))
        receiver.close()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self._reader: threading.Thread | None = None
        self._rest: list[str] = []

    @property
    def returncode(self) -> int | None:
        """Its exit code, or minus the signal that has ended it; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("kd-sweep", timeout or 0.0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Return what it says until its end; after a `subprocess.TimeoutExpired` it can be asked again."""
        begin = time.monotonic()
        if self._reader is None:
            self._reader = threading.Thread(target=lambda: self._rest.append(self.stdout.read()), daemon=True)
            self._reader.start()
        self._reader.join(timeout)
        if self._reader.is_alive():
            raise subprocess.TimeoutExpired("kd-sweep", timeout or 0.0)
        self.stdout.close()
        self.wait(None if timeout is None else max(0.0, timeout - (time.monotonic() - begin)))
        return self._rest[0], None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(program: str, streams: str, *place: Any) -> None:
    for number, flags in enumerate((os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)):
        os.dup2(os.open(f"{streams}/{number}", flags), number)
    _become(program, *place)


def _run_apart(program: str, output: Connection | str, *place: Any) -> None:
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    into = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if isinstance(output, str) else output.fileno()
    for number in (1, 2):
        os.dup2(into, number)
    os.close(into) if isinstance(output, str) else output.close()
    _become(program, *place)


def _become(program: str, folder: str, variables: dict[str, str], cores: set[int], worker_start: str) -> None:
    gc.freeze()  # what all share is not looked through again by each
    os.sched_setaffinity(0, cores)
    if worker_start:
        from kd_sweep.driver.ray import private

        private.WORKER_START = Path(worker_start)
    tempfile.tempdir = None  # of the environment that was
    # Those that it has are of the files of the first process, or closed.
    sys.stdin = open(0, closefd=False)
    sys.stdout, sys.stderr = _opened_as(sys.stdout, 1), _opened_as(sys.stderr, 2)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    sys.path[:0] = [folder]
    sys.argv[:] = ["-c"]
    main = sys.modules["__main__"] = type(sys)("__main__")
    exec(compile(program, "<string>", "exec"), vars(main))


def _opened_as(stream: TextIO, number: int) -> TextIO:
    """Open a descriptor, of a file or pipe, as Python has opened its own stream there."""
    opened = open(number, "w", encoding=stream.encoding, errors=stream.errors, closefd=False)
    opened.reconfigure(line_buffering=number == 2 and stream.line_buffering, write_through=stream.write_through)
    return opened

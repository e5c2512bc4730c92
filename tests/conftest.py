"""Fixtures of several test folders: roots of small finished studies, and the command line."""

import gc
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import settings

from kd_sweep.cli import main
from tests.catalogue_entries import own_entries
from tests.command_line import (
    COMMAND,
    FORKING_SERVICE,
    IMPORT_TIMES,
    WORKER_START,
    Cli,
    Run,
    Start,
    Started,
    environment,
)
from tests.left_processes import RUN, end_what_is_left
from tests.longest_first import rank
from tests.made_once import made_once
from tests.tiny_study import TINY
from tests.warm_python import WarmProcess, command_program, run_warm

settings.register_profile("any speed", deadline=None)
settings.load_profile("any speed")
# A run in the background of a shell ignores SIGINT, and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
PATIENCE_S = 30.0
"""So long Ray's processes may take to end after the last test."""


def pytest_configure() -> None:
    os.environ.setdefault(RUN, uuid.uuid4().hex)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without Python's garbage collector, which would go through all modules again and again, also later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run long files first."""
    with_sweeps = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: rank(item.path, has_sweeps=item.path in with_sweeps))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let no run leave processes of sweeps behind: what it has left is ended, and fails the run."""
    if "PYTEST_XDIST_WORKER" not in os.environ and (left := end_what_is_left(os.environ[RUN], PATIENCE_S)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        lines = "\n  ".join(left)
        sys.stderr.write(f"\nERROR: after {PATIENCE_S:g} s these processes of the tests were left:\n  {lines}\n")


@pytest.fixture(autouse=True)
def _entries_of_this_test() -> Iterator[None]:
    """Messages list all entries of the catalogue: none of another test's plug-ins."""
    with own_entries():
        yield


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A study file of four trials and four teachers."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def launch(folder: Path, *arguments: str) -> None:
    command = [*COMMAND, "launch", *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment(), timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as our pages assume it: `sweeps/`, and `results/` with the study `digits`, small. Read it only."""

    def make(folder: Path) -> None:
        (folder / "sweeps").symlink_to(Path(__file__).parents[1] / "sweeps")
        small = ["data.max_train_images=200", "data.max_val_images=100", "data.image_size=8", "teacher.width=4"]
        small += ["student.width=4", "teacher.epochs=1", "student.epochs=6"]
        launch(folder, "sweeps/digits.yaml", *(part for change in small for part in ("--set", change)))

    return made_once(tmp_path_factory, "examples", make)


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the tiny study after an undisturbed launch, one trial at a time. Read it only."""

    def make(folder: Path) -> None:
        (folder / "tiny.yaml").write_text(TINY)
        launch(folder, "tiny.yaml")

    return made_once(tmp_path_factory, "uninterrupted", make) / "results"


@pytest.fixture
def finished(uninterrupted: Path, tmp_path: Path) -> Path:
    """A copy of the root of the finished tiny study."""
    return shutil.copytree(uninterrupted, tmp_path / "results")


@pytest.fixture
def with_teachers(uninterrupted: Path, tmp_path: Path) -> Path:
    """A root with the teachers of the tiny study, which need not be trained again, and nothing else."""
    root = tmp_path / "results"
    shutil.copytree(uninterrupted / "teachers", root / "teachers")
    return root


@pytest.fixture
def kd_sweep() -> Run:
    """Run `kd-sweep` with these arguments and wait for it; in a process that has loaded nothing if it tells imports."""

    def run(*arguments: object, timeout: float = 240, cpus: int = 1) -> subprocess.CompletedProcess[str]:
        words = [*map(str, arguments)]
        if IMPORT_TIMES[0] not in os.environ:
            return run_warm(command_program(*words), Path.cwd(), environment(cpus), timeout_s=timeout)
        return subprocess.run(
            [*COMMAND, *words],
            capture_output=True,
            text=True,
            env=environment(cpus),
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def cli(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run `kd-sweep` with these arguments in this process; return its exit code, stdout and stderr."""
    # On a busy machine, imports alone can take so long that a line says what is being done.
    monkeypatch.setattr("kd_sweep.waiting.PLAIN_DELAY_S", 600.0)

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capfdbinary.readouterr()
        return int(end.value.code or 0), out.decode(errors="replace"), err.decode()

    return run


@pytest.fixture
def start_kd_sweep() -> Iterator[Start]:
    """Start `kd-sweep` with these arguments, in a session of its own. What still runs ends with the test.

    What launches or exports is forked from a process that has loaded what a launch loads. A service is started as by
    its user: it must not load that.
    """
    started: list[Started] = []

    def start(
        *arguments: object,
        cpus: int = 1,
        variables: Mapping[str, str] = MappingProxyType({}),
        forks_workers: bool = True,
    ) -> Started:
        words, given = [*map(str, arguments)], environment(cpus) | variables
        if words[0] in ("launch", "resume", "export"):
            started.append(WarmProcess(command_program(*words), given, forks_workers=forks_workers))
        else:
            command = FORKING_SERVICE if WORKER_START in given else COMMAND
            started.append(
                subprocess.Popen(
                    [*command, *words],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    stdin=subprocess.DEVNULL,
                    text=True,
                    env=given,
                    start_new_session=True,
                )
            )
        return started[-1]

    yield start
    for process in started:
        end(process)


def end(process: Started) -> None:
    """End a process that a test has left, with its Ray, or its whole group where it does not end."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

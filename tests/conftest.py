"""Fixtures of several test folders: roots of small finished studies, and the command line."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

from kd_sweep.cli import main
from tests.command_line import COMMAND, Cli, Run, Start, environment
from tests.tiny_study import TINY

settings.register_profile("any speed", deadline=None)
settings.load_profile("any speed")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A study file of four trials and four teachers."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as our pages assume it: `sweeps/`, and `results/` with the study `digits`, at a small size."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "sweeps").symlink_to(Path(__file__).parents[1] / "sweeps")
    small = ["data.max_train_images=200", "data.max_val_images=100", "data.image_size=8", "teacher.width=4"]
    small += ["student.width=4", "teacher.epochs=1", "student.epochs=6"]
    command = [*COMMAND, "launch", "sweeps/digits.yaml", *(part for change in small for part in ("--set", change))]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=environment(), timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the tiny study after an undisturbed launch."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "tiny.yaml").write_text(TINY)
    command = [*COMMAND, "launch", str(folder / "tiny.yaml"), "--root", str(folder / "results")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "results"


@pytest.fixture
def with_teachers(uninterrupted: Path, tmp_path: Path) -> Path:
    """A root with the teachers of the tiny study, which need not be trained again, and nothing else."""
    root = tmp_path / "results"
    shutil.copytree(uninterrupted / "teachers", root / "teachers")
    return root


@pytest.fixture
def kd_sweep() -> Run:
    """Run `kd-sweep` with these arguments and wait for it."""

    def run(*arguments: object, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, *map(str, arguments)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment(),
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture
def cli(capfdbinary: pytest.CaptureFixture[bytes]) -> Cli:
    """Run `kd-sweep` with these arguments in this process; return its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capfdbinary.readouterr()
        return int(end.value.code or 0), out.decode(errors="replace"), err.decode()

    return run


@pytest.fixture
def start_kd_sweep() -> Start:
    """Start `kd-sweep` with these arguments, in a process group of its own."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment(),
            start_new_session=True,
        )

    return start

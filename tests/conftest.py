"""What several test folders share: studies small enough to run in seconds, and the command line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import settings

from kd_sweep.cli import main
from kd_sweep.tables.reader import open_results

settings.register_profile("any speed", deadline=None)
settings.load_profile("any speed")

TINY = """
name: tiny
data: {name: digits, image_size: 8, max_train_images: 200, max_val_images: 100}
teacher: {model: resnet8, width: 4, epochs: 2}
student: {model: resnet8, width: 4, epochs: 3}
search:
  augmentation_strength: {grid: [0.0, 0.5]}
  ensemble_size: {grid: [1, 2]}
"""

PROCESS_COLUMNS = frozenset(
    (
        "host",
        "pid",
        "attempt",
        "attempts",
        "started_at",
        "finished_at",
        "created_at",
        "updated_at",
        "epoch_s",
        "train_s",
        "train_images_per_s",
    )
)
"""Times, hosts and attempt counts: what may differ between two runs of the same study."""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A study file of four trials and four teachers."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def environment() -> dict[str, str]:
    """Return an environment for a command: no colours, a wide terminal, no address of anybody's cluster."""
    kept = {key: value for key, value in os.environ.items() if key not in ("RAY_ADDRESS", "RAY_AUTH_MODE")}
    return kept | {"COLUMNS": "300", "NO_COLOR": "1", "PYTHONPATH": str(Path(__file__).parents[1])}


COMMAND = [sys.executable, "-m", "kd_sweep"]

IMPORT_TIMES = ("PYTHONPROFILEIMPORTTIME", "1")
"""A setting with which Python says on stderr what it imports."""


def split_imports(stderr: str) -> tuple[set[str], str]:
    """Return the names of the packages that a process imported, by `IMPORT_TIMES`, and what else it said."""
    begin = "import time:"
    lines = stderr.splitlines(keepends=True)
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines if line.startswith(begin)}
    assert "kd_sweep" in modules
    return modules, "".join(line for line in lines if not line.startswith(begin))


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
def kd_sweep() -> Callable[..., subprocess.CompletedProcess[str]]:
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
def cli(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., tuple[int, str, str]]:
    """Run `kd-sweep` with these arguments in this process; return its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        out, err = capfdbinary.readouterr()
        return int(end.value.code or 0), out.decode(errors="replace"), err.decode()

    return run


@pytest.fixture
def start_kd_sweep() -> Callable[..., subprocess.Popen[str]]:
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


def comparable(root: Path | str, table: str) -> pa.Table:
    """Return a table without times, hosts and attempt counts, in a fixed order of rows."""
    found = open_results(root).table(table)
    found = found.drop_columns([name for name in found.column_names if name in PROCESS_COLUMNS])
    keys = [name for name in ("study", "trial_id", "teacher_id", "epoch") if name in found.column_names]
    return found.sort_by([(key, "ascending") for key in keys])

"""A study that ran from start to end, for all tests of this folder."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import COMMAND, TINY, environment


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

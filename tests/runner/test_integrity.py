"""Every file of a study, really damaged: found and named by `verify`, set aside and rebuilt by the next resume."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kd_sweep.errors import StorageError
from kd_sweep.results.reader import open_results
from kd_sweep.runner.study_folder import StudyFolder
from kd_sweep.runner.study_state import StudyState, Work
from kd_sweep.runner.verify import NOTE, PROBLEM, verify
from tests.conftest import comparable
from tests.damage import DAMAGES, break_file

pytestmark = pytest.mark.long

Run = Callable[..., subprocess.CompletedProcess[str]]
TABLES = ("epochs", "trials", "teachers", "studies")


@pytest.fixture
def root(uninterrupted: Path, tmp_path: Path) -> Path:
    """A copy of a finished study's root."""
    return shutil.copytree(uninterrupted, tmp_path / "results")


def opened_again(root: Path) -> Work:
    """Do what resume does before it runs anything."""
    folder = StudyFolder(root, "tiny")
    with StudyState(folder.spec(), folder) as state:
        return state.work


def problems(root: Path) -> list[str]:
    return [str(finding) for finding in verify(root) if finding.kind == PROBLEM]


def assert_equal(root: Path, uninterrupted: Path) -> None:
    for table in TABLES:
        assert comparable(root, table).equals(comparable(uninterrupted, table)), table


def test_a_whole_root_has_no_problems(uninterrupted: Path, kd_sweep: Run) -> None:
    assert verify(uninterrupted) == []
    done = kd_sweep("verify", uninterrupted)
    assert (done.returncode, done.stdout) == (0, "")
    assert "0 problems, 0 notes" in done.stderr


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize(
    "name", ["epochs", "trials/trials.parquet", "teachers/teachers.parquet", "study/study.parquet", "study.yaml"]
)
def test_tables_and_spec_are_rebuilt(root: Path, uninterrupted: Path, name: str, how: str) -> None:
    path = root / "tiny" / name
    if name == "epochs":
        (path,) = path.iterdir()
    break_file(path, how)
    found = problems(root)
    if how != "missing" or name in ("epochs", "trials/trials.parquet", "study.yaml"):
        assert any(line.startswith(f"problem: {root / 'tiny'}") and name in line for line in found), found
        assert all("\n" not in line for line in found)
    assert not opened_again(root)  # nothing is left to run
    assert_equal(root, uninterrupted)
    aside = list((root / "tiny" / "damaged").glob("*")) if (root / "tiny" / "damaged").exists() else []
    assert len(aside) == (how != "missing")
    assert problems(root) == []
    assert [finding.kind for finding in verify(root)] == [NOTE] * len(aside)


def test_epochs_and_trials_at_once(root: Path, uninterrupted: Path) -> None:
    (part,) = (root / "tiny" / "epochs").iterdir()
    break_file(part, "truncated")
    break_file(root / "tiny" / "trials" / "trials.parquet", "empty")
    opened_again(root)
    # Nothing says what had been trained but the checkpoints: their trials run, and find that all is done.
    assert len(opened_again(root).new) == 4


def test_a_spec_without_its_second_copy_is_an_error_of_one_line(root: Path, kd_sweep: Run) -> None:
    break_file(root / "tiny" / "study.yaml", "truncated")
    break_file(root / "tiny" / "study" / "study.parquet", "missing")
    with pytest.raises(StorageError, match=r"damaged study: .*study\.yaml"):
        opened_again(root)
    refused = kd_sweep("resume", root / "tiny")
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1


def test_what_must_be_trained_again_is(root: Path, uninterrupted: Path, kd_sweep: Run) -> None:
    """Epochs and a checkpoint of the same trial, teachers' weights and record, cached outputs: all at once."""
    trials = open_results(root).pandas("trials").set_index("trial_id")
    (lost,) = trials.index[(trials.ensemble_size == 2) & (trials.augmentation_strength == 0.5)]
    (part,) = (root / "tiny" / "epochs").iterdir()
    teachers = open_results(root).pandas("teachers").set_index("member")
    first, second = (teachers[teachers.augmentation_strength == 0.5].teacher_id[member] for member in (1, 2))
    broken = {
        part: "flipped",
        root / "tiny" / "checkpoints" / lost / "last.safetensors": "truncated",
        root / "teachers" / first / "model.safetensors": "flipped",
        root / "teachers" / second / "teacher.json": "truncated",
    }
    cached = [path for teacher in (first, second) for path in (root / "logits" / teacher).rglob("*.safetensors")]
    broken |= {path: ("flipped", "empty", "truncated")[number % 3] for number, path in enumerate(cached)}
    assert len(cached) == 2 * (3 + 1)
    for path, how in broken.items():
        break_file(path, how)
    named = problems(root)
    for path in broken:
        assert any(str(path) in line for line in named), path
    checked = kd_sweep("verify", root)
    assert checked.returncode == 1
    assert checked.stdout.splitlines()[: len(named)] == named

    resumed = kd_sweep("resume", root / "tiny")
    assert resumed.returncode == 0, resumed.stderr
    assert str(part) in resumed.stderr
    for table in TABLES:
        assert comparable(root, table).equals(comparable(uninterrupted, table)), table
    assert problems(root) == []
    corrupt = {path.name for path in root.rglob("*.corrupt")}
    assert corrupt == {"last.safetensors.corrupt", "model.safetensors.corrupt", "teacher.json.corrupt"}
    for teacher in (first, second):
        weights = f"teachers/{teacher}/model.safetensors"
        assert (root / weights).read_bytes() == (uninterrupted / weights).read_bytes()


def test_mistakes(tmp_path: Path, kd_sweep: Run) -> None:
    refused = kd_sweep("verify", tmp_path / "nothing")
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1

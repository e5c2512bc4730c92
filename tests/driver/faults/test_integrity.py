"""Every file of a study, really damaged: found and named by `verify`, set aside and rebuilt by the next resume."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kd_sweep.data.decoding.decoder import decode_images
from kd_sweep.data.undecoded_images import UndecodedImages
from kd_sweep.driver.study_checks import checked
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState, Work
from kd_sweep.errors import StorageError
from kd_sweep.storage.lease_holder import DRIVER_LEASE
from kd_sweep.storage.root import Root
from kd_sweep.storage.terms import Claim, claim_name
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import trial_config
from kd_sweep.tables.epoch_parts import Part, list_parts, merge, read_part
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.study_lease import study_lease
from kd_sweep.tables.writer import StudyWriter
from kd_sweep.upkeep.verify import NOTE, PROBLEM, verify
from tests.command_line import Cli, Run
from tests.comparing_tables import comparable
from tests.damage import DAMAGES, break_file
from tests.driver.reports import report_of
from tests.latest import latest
from tests.tables.rows import epoch_row

pytestmark = pytest.mark.slow

TABLES = ("epochs", "trials", "teachers", "studies")


@pytest.fixture
def root(finished: Path) -> Path:
    return finished


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


def test_a_whole_root_has_no_problems(uninterrupted: Path, cli: Cli) -> None:
    assert verify(uninterrupted) == []
    code, out, err = cli("verify", uninterrupted)
    assert (code, out) == (0, "")
    assert "0 problems, 0 notes" in err


def file_of(root: Path, name: str) -> Path:
    """Return the one part of the epochs, the file of a table, or the spec."""
    if name == "epochs":
        (part,) = (root / "tiny" / "epochs").iterdir()
        return part
    return root / "tiny" / name if name == "study.yaml" else latest(root / "tiny", name)


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize(
    "name", ["epochs", "trials/trials.parquet", "teachers/teachers.parquet", "study/study.parquet", "study.yaml"]
)
def test_tables_and_spec_are_rebuilt(root: Path, uninterrupted: Path, name: str, how: str) -> None:
    path = file_of(root, name)
    break_file(path, how)
    found = problems(root)
    if how != "missing" or name in ("epochs", "trials/trials.parquet", "study.yaml"):
        named = "epochs" if name == "epochs" else str(path.relative_to(root))
        assert any(line.startswith(f"problem: {root / 'tiny'}") and named in line for line in found), found
        assert all("\n" not in line for line in found)
    assert not opened_again(root)  # nothing is left to run
    assert_equal(root, uninterrupted)
    aside = list((root / "tiny" / "damaged").glob("*")) if (root / "tiny" / "damaged").exists() else []
    assert len(aside) == (how != "missing")
    assert problems(root) == []
    assert [finding.kind for finding in verify(root)] == [NOTE] * len(aside)


ADAPTIVE = """
name: tiny
student: {epochs: 2}
search: {augmentation_strength: {uniform: [0.0, 1.0]}, distillation.temperature: {uniform: [1.0, 8.0]}}
objectives: [{metric: val_accuracy, mode: max}, {metric: fidelity_val, mode: max}]
"""


@pytest.fixture(params=["tpe", "nsga2"])
def adaptive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A finished study whose sampler has chosen its trials, and whose checkpoints have all been deleted."""
    sampler = f"sampler: {{name: {request.param}, num_trials: 3}}"
    spec = checked(parse_spec(ADAPTIVE + sampler, "tiny.yaml"), say=print)
    with StudyState(spec, StudyFolder(tmp_path / "results", "tiny")) as state:
        for number in range(3):
            point = {"augmentation_strength": number / 4, "distillation.temperature": number + 1.0}
            config = trial_config(spec, point)
            state.recorder.started(config)
            for epoch in (1, 2):
                state.recorder.epoch(config.trial_id, report_of(epoch, value=number / 7 + epoch / 3))
            state.recorder.ended(config.trial_id, "completed" if number else "stopped")
        assert not state.finish()
    return tmp_path / "results"


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", ["trials/trials.parquet", "copies/trials.parquet"])
def test_what_a_sampler_has_chosen_is_kept_twice(adaptive: Path, tmp_path: Path, name: str, how: str) -> None:
    kept = shutil.copytree(adaptive, tmp_path / "kept")
    path = file_of(adaptive, name)
    break_file(path, how)
    found = problems(adaptive)
    if (name, how) != ("copies/trials.parquet", "missing"):
        assert [line for line in found if str(path) in line], found
    assert not opened_again(adaptive)
    assert_equal(adaptive, kept)
    assert problems(adaptive) == []
    assert file_of(adaptive, name).read_bytes() == file_of(kept, name).read_bytes()


def test_what_a_sampler_has_chosen_and_is_lost_twice_is_told(adaptive: Path) -> None:
    for name in ("trials/trials.parquet", "copies/trials.parquet"):
        break_file(file_of(adaptive, name), "flipped")
    assert opened_again(adaptive).adaptive == 3
    found = problems(adaptive)
    assert len(found) == 3
    for line in found:
        assert line.endswith(
            "what was searched there is lost with its row; launched again, the study runs another in its place"
        )


@pytest.mark.parametrize("how", ["truncated", "flipped", "empty"])
def test_everything_else_is_named(root: Path, how: str) -> None:
    finished, unfinished, *_ = sorted((root / "teachers").iterdir())
    checkpoint, *_ = (root / "tiny" / "checkpoints").glob("*/last-*.safetensors")
    leave_unfinished(unfinished, checkpoint)
    cached, *_ = (root / "logits" / finished.name).rglob("*.safetensors")
    decoded = root / "datasets" / "0123-4567-12.npy"
    decode_images(UndecodedImages(np.zeros((3, 3, 16, 16), np.uint8), "abc", np.zeros(3, int)), 12, decoded)
    assert problems(root) == []
    broken = [checkpoint, latest(unfinished, "last.safetensors"), cached, decoded]
    broken.append(latest(finished, "teacher.json" if how == "flipped" else "model.safetensors"))
    for path in broken:
        break_file(path, how)
    named = problems(root)
    assert len(named) == len(broken)
    for path in broken:
        assert any(line.startswith(f"problem: {path}: ") for line in named), path


def leave_unfinished(teacher: Path, checkpoint: Path) -> None:
    """Make a teacher one whose training was cut off, with a checkpoint from elsewhere."""
    for name in ("teacher.json", "model.safetensors"):
        latest(teacher, name).unlink()
    shutil.copy(checkpoint, latest(teacher, "last.safetensors"))


@pytest.mark.parametrize("how", ["truncated", "empty"])
def test_a_damaged_lease_is_named_and_nobodys(root: Path, uninterrupted: Path, how: str) -> None:
    held = StudyFolder(root, "tiny").lock()
    lease = root / "tiny" / claim_name(DRIVER_LEASE, Claim(held.term, held.holder.token))
    held.release()
    break_file(lease, how)
    assert [(found.kind, found.file) for found in verify(root)] == [(NOTE, str(lease))]
    assert not opened_again(root)
    assert_equal(root, uninterrupted)
    assert verify(root) == []


def test_epochs_and_trials_at_once(root: Path, uninterrupted: Path) -> None:
    (part,) = (root / "tiny" / "epochs").iterdir()
    break_file(part, "truncated")
    break_file(file_of(root, "trials/trials.parquet"), "empty")
    assert not opened_again(root)
    assert_equal(root, uninterrupted)


def test_epochs_and_both_copies_of_trials_at_once(root: Path, uninterrupted: Path) -> None:
    (part,) = (root / "tiny" / "epochs").iterdir()
    break_file(part, "truncated")
    break_file(file_of(root, "trials/trials.parquet"), "empty")
    break_file(file_of(root, "copies/trials.parquet"), "flipped")
    opened_again(root)
    # Nothing says what had been trained but the checkpoints: their trials run, and find that all is done.
    assert len(opened_again(root).new) == 4


def test_epochs_that_a_living_driver_merges_meanwhile_are_no_problem(
    adaptive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = StudyFolder(adaptive, "tiny").study
    lease = study_lease(study, "tiny")
    writer = StudyWriter(Root.open(adaptive), "tiny", lease=lease)
    for epoch in range(3, 7):  # a part each
        for trial_id in writer.trials:
            writer.add_epoch(epoch_row(0, epoch, trial_id=trial_id))
            writer.upsert_trial({"trial_id": trial_id, "status": "running", "last_epoch": epoch})
        writer.flush()
    listed = list_parts(study)
    assert len(listed) == 5

    def merge_first(root: Root, part: Part, *rest: Any) -> pa.Table:
        if len(list_parts(study)) == len(listed):
            merge(study, listed[:-1])
            for merged in listed[:-1]:
                study.delete(merged.path)
        return read_part(root, part, *rest)

    monkeypatch.setattr("kd_sweep.upkeep.verify.read_part", merge_first)
    assert problems(adaptive) == []
    assert len(list_parts(study)) == 2
    lease.release()


def test_a_spec_without_its_second_copy_is_an_error_of_one_line(root: Path, cli: Cli) -> None:
    break_file(root / "tiny" / "study.yaml", "truncated")
    break_file(file_of(root, "study/study.parquet"), "missing")
    with pytest.raises(StorageError, match=r"damaged study: .*study\.yaml"):
        opened_again(root)
    code, _, err = cli("resume", root / "tiny")
    assert code == 2
    assert len(err.strip().splitlines()) == 1


def test_what_must_be_trained_again_is(root: Path, uninterrupted: Path, kd_sweep: Run, cli: Cli) -> None:
    """Epochs, checkpoints of two trials, teachers' weights, record and checkpoint, cached outputs: all at once."""
    trials = open_results(root).pandas("trials")
    first_lost, second_lost = (root / "tiny" / "checkpoints" / i for i in trials.trial_id[trials.ensemble_size == 2])
    (part,) = (root / "tiny" / "epochs").iterdir()
    teachers = open_results(root).pandas("teachers").sort_values(["augmentation_strength", "member"]).teacher_id
    first, second, third, fourth = (root / "teachers" / teacher_id for teacher_id in teachers)
    leave_unfinished(third, latest(first_lost, "last.safetensors"))
    broken = {
        part: "flipped",
        latest(first, "model.safetensors"): "flipped",
        latest(second, "teacher.json"): "truncated",
        latest(third, "last.safetensors"): "truncated",
        latest(fourth, "teacher.json"): "flipped",
    }
    lost = [*first_lost.glob("*.safetensors"), *second_lost.glob("*.safetensors")]
    cached = [path for teacher_id in teachers for path in (root / "logits" / teacher_id).rglob("*.safetensors")]
    broken |= {path: ("flipped", "empty", "truncated")[number % 3] for number, path in enumerate([*lost, *cached])}
    assert len(cached) == 4 * (3 + 2)  # streams of three epochs, clean images, and what the map of random weights shows
    for path, how in broken.items():
        break_file(path, how)
    named = problems(root)
    for path in broken:
        assert any(str(path) in line for line in named), path
    code, out, _ = cli("verify", root)
    assert code == 1
    assert out.splitlines()[: len(named)] == named

    resumed = kd_sweep("resume", root / "tiny")
    assert resumed.returncode == 0, resumed.stderr
    assert str(part).rpartition("-")[0] in resumed.stderr  # under the number of the driver that resumes
    assert_equal(root, uninterrupted)
    assert problems(root) == []
    aside = {path for path in broken if path not in (part, *cached)}
    assert {path.parent for path in root.rglob("*.corrupt")} >= {path.parent for path in aside}
    for teacher_id in teachers:
        weights = [latest(folder / "teachers" / teacher_id, "model.safetensors") for folder in (root, uninterrupted)]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_mistakes(tmp_path: Path, cli: Cli) -> None:
    code, _, err = cli("verify", tmp_path / "nothing")
    assert code == 2
    assert len(err.strip().splitlines()) == 1

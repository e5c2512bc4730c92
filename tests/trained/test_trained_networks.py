"""The student and the teachers that come back from a root, against the metrics that their trial reported."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from kd_sweep.distill.checkpoints import BEST, CHECKPOINTS, LAST
from kd_sweep.distill.teacher_records import RECORD
from kd_sweep.errors import CorruptFileError, KdSweepError, QueryError, StorageError
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.trial_lookup import StoredTrial, find_trials
from kd_sweep.trained.trained_networks import Epoch, TrainedNetworks
from tests.latest import latest
from tests.trained_studies import train_study

STUDY = """
name: s
data: {name: digits, image_size: 8, max_train_images: 200, max_val_images: 100}
teacher: {model: resnet8, width: 4, epochs: 2}
student: {model: resnet8, width: 4, epochs: 5}
objectives: [{metric: train_loss, mode: max}]
search: {ensemble_size: {grid: [2]}, distillation.teacher_batchnorm: {grid: [eval, train]}, seed: {grid: [1]}}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a study of two trials whose best epoch is not the last. Read it only."""
    root = tmp_path_factory.mktemp("trained")
    train_study(root, STUDY)
    return root


def trial_of(root: Path, batchnorm: str) -> StoredTrial:
    results = open_results(root)
    rows = results.table("trials").to_pylist()
    (trial_id,) = [row["trial_id"] for row in rows if row["distillation_teacher_batchnorm"] == batchnorm]
    return find_trials(results, [trial_id])[0]


def epoch_row(trial: StoredTrial, epoch: int) -> dict[str, float]:
    rows = open_results(trial.study).table("epochs").to_pylist()
    (row,) = [row for row in rows if (row["trial_id"], row["epoch"]) == (trial.trial_id, epoch)]
    return row


def accuracy(network: torch.nn.Module, trained: TrainedNetworks) -> float:
    """Over the validation images, normalised by NumPy."""
    val, dataset = trained.dataset.val, trained.dataset
    mean, std = (np.reshape(levels, (-1, 1, 1)) for levels in (dataset.mean, dataset.std))
    images = (val.images_NDHW.numpy() / 255 - mean) / std
    predicted = network(torch.from_numpy(images).float()).argmax(1)
    return np.mean(predicted.numpy() == val.labels_N.numpy())


@pytest.mark.parametrize("epoch", ["last", "best"])
@pytest.mark.parametrize("batchnorm", ["eval", "train"])
def test_student_and_teachers_have_the_accuracy_of_their_row(trained: Path, batchnorm: str, epoch: Epoch) -> None:
    trial = trial_of(trained, batchnorm)
    assert trial.row["best_epoch"] < trial.row["last_epoch"] == 5, "else both would be one"
    networks = TrainedNetworks(trial, "cpu")
    student, number = networks.student(epoch)
    assert number == trial.row[f"{epoch}_epoch"]
    row = epoch_row(trial, number)
    assert accuracy(student, networks) == row["val_accuracy"]
    teachers = networks.teachers(epoch)
    assert np.mean([accuracy(teacher, networks) for teacher in teachers]) == pytest.approx(row["teacher_accuracy"])
    *same_teachers, same_student = networks.all(number)[0]
    for one, same in zip([*teachers, student], [*same_teachers, same_student], strict=True):
        assert not one.training
        assert not any(parameter.requires_grad for parameter in one.parameters())
        assert all(
            torch.equal(a, b) for a, b in zip(one.state_dict().values(), same.state_dict().values(), strict=True)
        )
        assert next(one.parameters()).data_ptr() != next(same.parameters()).data_ptr()


def test_statistics_of_teachers_drift_from_epoch_to_epoch(trained: Path) -> None:
    def means(batchnorm: str, epoch: Epoch) -> torch.Tensor:
        (first, _) = TrainedNetworks(trial_of(trained, batchnorm), "cpu").teachers(epoch)
        return torch.cat([buffer for name, buffer in first.named_buffers() if name.endswith("running_mean")])

    assert torch.equal(means("eval", "last"), means("eval", "best"))
    assert not torch.equal(means("train", "last"), means("train", "best"))
    assert not torch.equal(means("train", "last"), means("eval", "last"))


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "root")


def one_line(error: type[KdSweepError], trial: StoredTrial, call: str, *arguments: object) -> str:
    with pytest.raises(error) as caught:
        getattr(TrainedNetworks(trial, "cpu"), call)(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_there_is_one_line_that_says_what_is(root: Path) -> None:
    trial = trial_of(root, "train")
    best = trial.row["best_epoch"]
    for wrong in (0, 6, True, "first", 1.0):
        assert "is no epoch of trial" in one_line(QueryError, trial, "student", wrong)
    assert one_line(QueryError, trial, "student", 6).endswith("possible: last, best, 1 to 5")
    other = next(epoch for epoch in range(1, 5) if epoch != best)
    assert f"no checkpoint of epoch {other}; possible: {best}, 5" in one_line(StorageError, trial, "student", other)
    folder = root / "s" / CHECKPOINTS / trial.trial_id
    latest(folder, BEST).unlink()
    assert f"no checkpoint of epoch {best}, its best one; possible: 5" in one_line(StorageError, trial, "all", "best")
    latest(folder, LAST).write_bytes(b"damaged")
    assert "last-" in one_line(CorruptFileError, trial, "student")
    latest(folder, LAST).unlink()
    for call, epoch in (("student", "last"), ("student", "best"), ("teachers", "last"), ("all", 5)):
        assert "is completed and has no checkpoint (" in one_line(StorageError, trial, call, epoch)
    assert len(TrainedNetworks(trial_of(root, "eval"), "cpu").teachers()) == 2


def test_a_student_is_there_without_its_teachers(root: Path) -> None:
    for trial in (trial_of(root, "train"), trial_of(root, "eval")):
        networks = TrainedNetworks(trial, "cpu")
        for teacher in networks.config.teachers:
            latest(root / "teachers" / teacher.teacher_id, RECORD).unlink(missing_ok=True)
        student, number = networks.student()
        assert accuracy(student, networks) == epoch_row(trial, number)["val_accuracy"]
        assert "missing; the teacher is not finished" in one_line(CorruptFileError, trial, "teachers")


def test_a_trial_that_has_not_begun_has_no_network(trained: Path) -> None:
    trial = trial_of(trained, "eval")
    nothing = {"status": "running", "last_epoch": None, "best_epoch": None}
    waiting = StoredTrial(trial.root, trial.root.child("elsewhere"), trial.row | nothing)
    for epoch in ("last", "best", 1):
        assert "is running and has no checkpoint (" in one_line(StorageError, waiting, "student", epoch)
        assert "its first epoch is not done" in one_line(StorageError, waiting, "student", epoch)


def test_a_trial_whose_objective_has_no_value_has_no_best_epoch(trained: Path) -> None:
    trial = trial_of(trained, "eval")
    without = StoredTrial(trial.root, trial.study, trial.row | {"best_epoch": None})
    message = one_line(QueryError, without, "student", "best")
    assert message.endswith(f"its study's objective has no value in trial {trial.trial_id}; possible: last, 1 to 5")
    assert TrainedNetworks(without, "cpu").student(np.int64(5))[1] == 5


def test_a_root_that_cannot_be_written_is_read_all_the_same(tmp_path: Path, write_images) -> None:
    folder = write_images("set", ("a", "b"), count=6)
    train_study(
        tmp_path / "root",
        f"name: s\ndata: {{name: image_folder, path: '{folder}', image_size: 8}}\n"
        "teacher: {model: resnet8, width: 4, epochs: 1}\nstudent: {model: resnet8, width: 4, epochs: 1}\n",
    )
    moved = (tmp_path / "root").rename(tmp_path / "moved")
    shutil.rmtree(moved / "datasets")
    (moved / "datasets").write_text("no folder can be made here")
    results = open_results(moved)
    trial = find_trials(results, results.table("trials")["trial_id"].to_pylist())[0]
    networks = TrainedNetworks(trial, "cpu")
    assert accuracy(networks.student()[0], networks) == epoch_row(trial, 1)["val_accuracy"]

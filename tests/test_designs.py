"""The study of all arms in docs/designs.md, launched: its rows, and what networks on disk say of them."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from kd_sweep.data.dataset_loading import load_dataset
from kd_sweep.tables.reader import open_results
from tests.command_line import Run
from tests.designs_page import STUDIES

SMALL = [
    "teacher.epochs=8",
    "student.epochs=2",
    "search.seed=0",
    "search.augmentation_strength=0.5",
]
ARMS = {
    ("none", None, None),
    ("kl", "none", "consistent"),
    ("kl", "none", "independent"),
    ("kl", "none", "fixed"),
    ("kl", "shuffled_labels", None),
    ("kl", "random_weights", None),
}


@pytest.mark.slow
def test_all_arms_are_launched_as_one_study(kd_sweep: Run, tmp_path: Path) -> None:
    from kd_sweep import open_results as opened

    (tmp_path / "arms.yaml").write_text(next(text for text in STUDIES if "name: arms" in text))
    settings = [argument for setting in SMALL for argument in ("--set", setting)]
    done = kd_sweep("launch", str(tmp_path / "arms.yaml"), "--root", str(tmp_path / "results"), *settings)
    assert done.returncode == 0, done.stderr
    results = open_results(tmp_path / "results")
    trials = results.pandas("trials").astype(object).where(lambda table: table.notna(), None)
    columns = ["distillation_loss", "distillation_teacher_control", "distillation_teacher_view"]
    assert set(trials[columns].itertuples(index=False, name=None)) == ARMS
    assert set(trials.status) == {"completed"}

    teachers = results.pandas("teachers").set_index("control")
    assert sorted(teachers.index) == ["none", "random_weights", "shuffled_labels"]
    assert teachers.epochs.to_dict() == {"none": 8, "random_weights": 0, "shuffled_labels": 8}
    assert teachers.val_accuracy["none"] > 0.5
    assert teachers.val_accuracy["shuffled_labels"] < 0.3  # of ten classes
    assert teachers.val_accuracy["random_weights"] < 0.3

    study = opened(tmp_path / "results")["arms"]
    dataset = load_dataset(study.trials()[0].config.data)
    pixels = dataset.train.images_NDHW.double() / 255
    val = ((dataset.val.images_NDHW.double() / 255 - pixels.mean()) / pixels.std(correction=0)).float()
    labels = dataset.val.labels_N
    for trial in study.trials():
        with torch.no_grad():
            student, teacher = trial.student()(val), trial.teachers()[0](val)
        row = trials[trials.trial_id == trial.trial_id].iloc[0]
        assert row.val_accuracy == pytest.approx(float((student.argmax(1) == labels).double().mean()))
        assert row.teacher_accuracy == pytest.approx(float((teacher.argmax(1) == labels).double().mean()))
        assert row.fidelity_val == pytest.approx(float((student.argmax(1) == teacher.argmax(1)).double().mean()))
        assert row.val_loss == pytest.approx(float(F.cross_entropy(student.double(), labels)), rel=1e-3)

"""The attention of a trial, compared with the columns of its own last epoch."""

import numpy as np
import pytest
import torch

from kd_sweep.distill.checkpoints import CHECKPOINTS, LAST
from kd_sweep.distill.teacher_records import WEIGHTS
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.errors import CorruptFileError, DataError, StorageError
from kd_sweep.study.recipe import Distillation
from kd_sweep.trained.trial_attention import trial_attention
from tests.distill.trials import tiny_trial
from tests.latest import latest
from tests.trained.studies import only_trial, write_study


@pytest.mark.parametrize("batchnorm", ["eval", "train"])
def test_over_all_validation_images_the_overlap_is_the_trials_own(tmp_path, batchnorm):
    config = tiny_trial(ensemble_size=2, distillation=Distillation(teacher_batchnorm=batchnorm))
    row = write_study(tmp_path, config)[config.trial_id][-1]
    attention = trial_attention(only_trial(tmp_path, config), 10_000, device="cpu")
    assert attention.epoch == row["epoch"]
    assert len(attention.labels_I) == 100
    regions = attention.maps_MIHW.numpy() > config.metrics.cam_threshold

    def overlap(one, other):
        return np.mean([(a & b).sum() / (a | b).sum() for a, b in zip(one, other, strict=True)])

    assert row["attention_iou_teachers"] == pytest.approx(overlap(regions[0], regions[1]), abs=5e-3)
    with_student = np.mean([overlap(regions[0], regions[2]), overlap(regions[1], regions[2])])
    assert row["attention_iou_student"] == pytest.approx(with_student, abs=5e-3)
    accuracy = (attention.logits_MIC[-1].argmax(1) == attention.labels_I).float().mean().item()
    assert row["val_accuracy"] == pytest.approx(accuracy, abs=0.011)


def test_images_are_selected_by_their_indices(tmp_path):
    config = tiny_trial(student={"epochs": 1})
    write_study(tmp_path, config)
    val = resident_dataset(config.data, tmp_path).val
    attention = trial_attention(only_trial(tmp_path, config), [7, 3], device="cpu")
    assert torch.equal(attention.pixels_IDHW, val.images_NDHW[[7, 3]])
    assert attention.labels_I.tolist() == val.labels_N[[7, 3]].tolist()
    with pytest.raises(DataError, match="image: 100 is not a validation image of digits; 0 to 99"):
        trial_attention(only_trial(tmp_path, config), [3, 100], device="cpu")


def test_a_trial_without_a_checkpoint_is_named(tmp_path):
    config = tiny_trial(student={"epochs": 1})
    write_study(tmp_path, config)
    latest(tmp_path / "s" / CHECKPOINTS / config.trial_id, LAST).unlink()
    with pytest.raises(StorageError, match=rf"trial: {config.trial_id} is completed and has no checkpoint \("):
        trial_attention(only_trial(tmp_path, config), device="cpu")


@pytest.mark.parametrize("damage", [b"", b"no weights"])
def test_a_damaged_teacher_is_named(tmp_path, damage):
    config = tiny_trial(student={"epochs": 1})
    write_study(tmp_path, config)
    latest(tmp_path / "teachers" / config.teachers[0].teacher_id, WEIGHTS).write_bytes(damage)
    with pytest.raises(CorruptFileError, match="model-"):
        trial_attention(only_trial(tmp_path, config), device="cpu")

"""The attention of a trial, compared with the columns of its own last epoch."""

import numpy as np
import pytest
import torch

from kd_sweep.distill.checkpoints import CHECKPOINTS, LAST
from kd_sweep.distill.teacher_records import WEIGHTS
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.errors import CorruptFileError, DataError, QueryError, StorageError
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.study.recipe import Distillation, Metrics
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


@pytest.mark.parametrize("ensemble_size", [1, 3])
def test_over_all_validation_images_the_metrics_are_the_trials_own(tmp_path, ensemble_size):
    config = tiny_trial(ensemble_size=ensemble_size)
    row = write_study(tmp_path, config)[config.trial_id][-1]
    attention = trial_attention(only_trial(tmp_path, config), range(100), device="cpu")
    found = attention.metrics()
    of_teachers = {name for name in REPORTED_METRICS if name.startswith("attention_") and "_teachers" in name}
    left_out = {name for name in REPORTED_METRICS if "correct" in name or "randomised" in name}
    wanted = {name for name in REPORTED_METRICS if name.startswith("attention_")} - left_out
    assert wanted - of_teachers <= set(found) <= wanted
    assert {name: row[name] for name in wanted - set(found)} == dict.fromkeys(wanted - set(found))
    assert ("attention_overlap_teachers" in found) == (ensemble_size > 1)
    assert found == pytest.approx({name: row[name] for name in found}, abs=1e-9)


def test_another_map_of_the_same_networks(tmp_path):
    config = tiny_trial(ensemble_size=2, metrics=Metrics(attention="cam"))
    row = write_study(tmp_path, config)[config.trial_id][-1]
    other = config.model_copy(update={"metrics": Metrics(attention="grad_cam")})
    other_row = write_study(tmp_path / "other", other)[other.trial_id][-1]
    assert row["val_accuracy"] == other_row["val_accuracy"]
    trial = only_trial(tmp_path, config)
    own, asked = (trial_attention(trial, range(100), map_kind=kind, device="cpu") for kind in (None, "grad_cam"))
    assert (own.map_names_M, asked.map_names_M) == (("cam",) * 3, ("grad_cam",) * 3)
    assert own.config == asked.config == config
    assert torch.equal(own.logits_MIC.argmax(2), asked.logits_MIC.argmax(2))
    for found, recorded in ((own, row), (asked, other_row)):
        for name in ("attention_overlap_teachers", "attention_overlap_student", "attention_rank_correlation_student"):
            assert found.metrics()[name] == pytest.approx(recorded[name], abs=1e-9)
    with pytest.raises(QueryError, match=r"map: 'gradcam' .*grad_cam"):
        trial_attention(trial, map_kind="gradcam")


def test_one_image_has_no_overlap_by_chance(tmp_path):
    config = tiny_trial(ensemble_size=2, student={"epochs": 1})
    write_study(tmp_path, config)
    found = trial_attention(only_trial(tmp_path, config), 1, device="cpu").metrics()
    assert found["attention_iou_student"] is not None
    assert found["attention_iou_student_chance"] is found["attention_overlap_student"] is None


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

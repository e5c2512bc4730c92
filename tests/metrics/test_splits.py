import pytest
import torch

from kd_sweep.metrics.attention import attention_iou_pairs, attention_iou_student
from kd_sweep.metrics.splits import stream_metrics, teacher_metrics, val_metrics
from kd_sweep.study.reported import NULL_FOR_ONE_TEACHER, REPORTED_METRICS


@pytest.fixture
def outputs():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 60, 7, generator=generator)
    regions = torch.rand(4, 60, 5, 5, generator=generator) < 0.4
    return logits[0], logits[1:], torch.randint(0, 7, (60,), generator=generator), regions[0], regions[1:]


def all_metrics(student, teachers, labels, student_regions, teacher_regions):
    return {
        **stream_metrics(student, teachers, labels, "train"),
        **stream_metrics(student, teachers, labels, "val_augmented"),
        **val_metrics(student, teachers, labels),
        **teacher_metrics(teachers, labels),
        "attention_iou_teachers": attention_iou_pairs(teacher_regions),
        "attention_iou_student": attention_iou_student(student_regions, teacher_regions),
    }


def test_keys_are_the_reported_metrics(outputs):
    assert set(all_metrics(*outputs)) | {"train_loss", "generalization_gap"} == set(REPORTED_METRICS)


def test_null_for_one_teacher_and_only_there(outputs):
    student, teachers, labels, student_regions, teacher_regions = outputs
    values = all_metrics(student, teachers[:1], labels, student_regions, teacher_regions[:1])
    assert {name for name, value in values.items() if value is None} == NULL_FOR_ONE_TEACHER
    assert not [name for name, value in all_metrics(*outputs).items() if value is None]
    assert values["teacher_accuracy"] == values["ensemble_accuracy"]


def test_a_student_that_is_its_only_teacher(outputs):
    student, _, labels, regions, _ = outputs
    values = all_metrics(student, student[None], labels, regions, regions[None])
    for split in ("train", "val", "val_augmented"):
        assert values[f"fidelity_{split}"] == 1
        assert values[f"predictive_kl_{split}"] == pytest.approx(0, abs=1e-12)
    assert values["attention_iou_student"] == 1
    assert values["entropy_student"] == pytest.approx(values["entropy_teachers"], abs=1e-12)
    assert values["teacher_accuracy"] == values["val_accuracy"] == values["ensemble_accuracy"]


def test_teacher_accuracy_is_the_members_mean(outputs):
    labels = outputs[2]
    right = torch.nn.functional.one_hot(labels, 7).float()
    teachers = torch.stack([right, -right, right])
    values = teacher_metrics(teachers, labels)
    assert values["teacher_accuracy"] == pytest.approx(2 / 3)
    assert values["ensemble_accuracy"] == 1


def test_values_are_python_floats(outputs):
    assert all(type(value) is float for value in all_metrics(*outputs).values())

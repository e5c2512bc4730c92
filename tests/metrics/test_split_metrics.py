import numpy as np
import pytest
import torch

from kd_sweep.attention.compared_maps import ComparedMaps, Overlaps
from kd_sweep.attention.packed_regions import PackedRegions
from kd_sweep.metrics.predictions import ensemble_log_probabilities, top_1
from kd_sweep.metrics.split_metrics import (
    chance_metrics,
    correct_attention_metrics,
    information_metrics,
    rethinkkd_metrics,
    stream_metrics,
    student_attention_metrics,
    teacher_attention_metrics,
    teacher_metrics,
    val_metrics,
)
from kd_sweep.study.attention_metrics import IOU_THRESHOLDS
from kd_sweep.study.metric_catalogue import DIFFERENCES, REPORTED_METRICS, null_where
from kd_sweep.study.metric_record import Null


@pytest.fixture
def outputs():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 60, 7, generator=generator)
    maps = torch.rand(4, 60, 5, 5, generator=generator)
    return logits[0], logits[1:], torch.randint(0, 7, (60,), generator=generator), maps[0], maps[1:]


def all_metrics(student, teachers, labels, student_maps, teacher_maps):
    ensemble_log = ensemble_log_probabilities(teachers)
    values = dict.fromkeys(null_where(Null.ONE_TEACHER))
    for split in ("train", "val_augmented"):
        values |= stream_metrics(student, ensemble_log, labels, split)
        values |= information_metrics(top_1(student), top_1(ensemble_log), split)
        values |= rethinkkd_metrics(student, teachers, split)
    return {
        **values,
        **val_metrics(student, teachers, labels),
        **teacher_metrics(teachers, labels),
        **with_chance(of_teachers, teacher_maps),
        **with_chance(of_student, student_maps, teacher_maps),
        **with_chance(of_correct, student_maps, teacher_maps),
    }


def of_teachers(teachers_MB):
    """The metrics of one way to pair images; so are the next two."""
    (values,) = teacher_attention_metrics(in_one_way(teachers_MB))
    return values


def of_student(student_B, teachers_MB):
    (values,) = student_attention_metrics(student_B, Overlaps.with_student(student_B, in_one_way(teachers_MB)))
    return values


def of_correct(student_B, teachers_MB):
    overlaps = Overlaps.with_student(student_B, in_one_way(teachers_MB))
    (values,) = correct_attention_metrics(overlaps, torch.arange(overlaps.ranks_RPB.shape[-1]))
    return values


def in_one_way(teachers_MB):
    return ComparedMaps(teachers_MB.regions[:, None], teachers_MB.ranks[None])


def with_chance(metrics, *maps):
    """The last maps are those of other images where chance is asked for: each network's turned by its number."""
    turned = torch.stack([maps_BHW.roll(turn, 0) for turn, maps_BHW in enumerate(maps[-1], len(maps) - 1)])
    overlap = metrics(*compared(*maps))
    return {**overlap, **chance_metrics(overlap, metrics(*compared(*maps[:-1], turned)))}


def compared(*maps, threshold=0.4):
    return [ComparedMaps.of(maps_NHW, threshold) for maps_NHW in maps]


def test_keys_are_the_reported_metrics(outputs):
    elsewhere = {"train_loss", *DIFFERENCES, "affinity", "diversity"}
    randomised = {
        f"attention_randomised_{what}{whose}" for what in ("classifier", "network") for whose in ("", "_student")
    }
    elsewhere |= {"ece_train_rethinkkd", *randomised}
    assert set(all_metrics(*outputs)) | elsewhere == set(REPORTED_METRICS)


def test_areas_are_shares_of_pixels(outputs):
    student, teachers, labels, student_maps, teacher_maps = outputs
    values = all_metrics(student, teachers, labels, student_maps, teacher_maps)
    assert values["attention_area_student"] == pytest.approx(np.mean(student_maps.numpy() > 0.4))
    assert values["attention_area_teachers"] == pytest.approx(np.mean(teacher_maps.numpy() > 0.4))
    alone = all_metrics(student, teachers[:1], labels, student_maps, teacher_maps[:1])
    assert alone["attention_area_teachers"] == pytest.approx(np.mean(teacher_maps[0].numpy() > 0.4))


def test_null_for_one_teacher_and_only_there(outputs):
    student, teachers, labels, student_maps, teacher_maps = outputs
    values = all_metrics(student, teachers[:1], labels, student_maps, teacher_maps[:1])
    nulls = {name for name, value in values.items() if value is None}
    assert nulls == null_where(Null.ONE_TEACHER) | {"fidelity_ensemble_wrong_apart_val"}
    assert not [name for name, value in all_metrics(*outputs).items() if value is None]
    assert values["teacher_accuracy"] == values["ensemble_accuracy"]


def test_a_student_that_is_its_only_teacher(outputs):
    student, _, labels, maps, _ = outputs
    values = all_metrics(student, student[None], labels, maps, maps[None])
    for split in ("train", "val", "val_augmented"):
        assert values[f"fidelity_{split}"] == 1
        assert values[f"predictive_kl_{split}"] == pytest.approx(0, abs=1e-12)
        assert values[f"mutual_information_{split}_shuffled"] < values[f"mutual_information_{split}"]
    assert values["fidelity_macro_val"] == values["fidelity_worst_class_val"] == 1
    assert values["predictive_kl_reverse_val"] == pytest.approx(0, abs=1e-12)
    assert values["ece_teachers"] == pytest.approx(values["ece"], abs=1e-12)
    assert values["attention_iou_student"] == values["attention_overlap_student"] == 1
    assert values["attention_iou_student_chance"] < 1
    assert values["entropy_student"] == pytest.approx(values["entropy_teachers"], abs=1e-12)
    assert values["teacher_accuracy"] == values["val_accuracy"] == values["ensemble_accuracy"]


def test_teacher_accuracy_is_the_members_mean(outputs):
    labels = outputs[2]
    right = torch.nn.functional.one_hot(labels, 7).float()
    teachers = torch.stack([right, -right, right])
    values = teacher_metrics(teachers, labels)
    assert values["teacher_accuracy"] == pytest.approx(2 / 3)
    assert values["ensemble_accuracy"] == 1


def test_without_other_images_or_with_chance_at_1_there_is_no_overlap_above_chance(outputs):
    _, _, _, student_maps, teacher_maps = outputs
    overlap = of_student(*compared(student_maps, teacher_maps))
    names = {f"attention_{kind}" for kind in ("iou_student_chance", "overlap_student", "overlap_student_at_75")}
    alone = chance_metrics(overlap, {})
    assert names < alone.keys() <= null_where(Null.NO_OTHER_IMAGE)
    assert set(alone.values()) == {None}
    everywhere = of_teachers(*compared(torch.ones_like(teacher_maps)))
    corrected = chance_metrics(everywhere, everywhere)
    assert corrected["attention_iou_teachers_chance"] == 1
    assert corrected["attention_overlap_teachers"] is None


def test_values_are_python_floats(outputs):
    assert all(type(value) is float for value in all_metrics(*outputs).values())


def test_ways_to_pair_images_and_images_that_are_right_are_what_they_are_alone(outputs):
    _, _, _, student_maps, teacher_maps = outputs
    shifts = [(0, 0, 0), (1, 3, 5), (2, 7, 4)]
    ways = [torch.stack([m.roll(by, 0) for m, by in zip(teacher_maps, of_way, strict=True)]) for of_way in shifts]
    student_B, *compared_ways = compared(student_maps, *ways)
    words = np.stack([way.regions.words for way in compared_ways], 1)
    regions = PackedRegions(words, student_B.regions.num_pixels)
    together = ComparedMaps(regions, torch.stack([way.ranks for way in compared_ways]))
    overlaps = Overlaps.with_student(student_B, together)
    assert student_attention_metrics(student_B, overlaps) == [of_student(student_B, way) for way in compared_ways]
    assert teacher_attention_metrics(together) == [of_teachers(way) for way in compared_ways]
    right = torch.tensor([3, 8, 21])
    alone = [compared(student_maps[right], maps_MNHW[:, right]) for maps_MNHW in ways]
    assert correct_attention_metrics(overlaps, right) == [of_correct(*maps) for maps in alone]


def test_thresholds_are_those_of_the_names(outputs):
    """At its own threshold the plain metric is the named one."""
    _, _, _, student_maps, teacher_maps = outputs
    for suffix, threshold in IOU_THRESHOLDS.items():
        maps = compared(student_maps, teacher_maps, threshold=threshold)
        student, teachers = of_student(*maps), of_teachers(maps[1])
        assert student["attention_iou_student"] == student[f"attention_iou_student_{suffix}"]
        assert teachers["attention_iou_teachers"] == teachers[f"attention_iou_teachers_{suffix}"]
        assert suffix == f"at_{threshold * 100:.0f}"
    assert len(set(teachers.values())) > len(IOU_THRESHOLDS)


def test_fidelity_over_classes_counts_rare_ones_as_much(outputs):
    """Nine images of class 0 agree, the one of class 1 does not: 0.9 over images, 0.5 over classes, 0 at worst."""
    labels = torch.tensor([0] * 9 + [1])
    student = torch.nn.functional.one_hot(torch.zeros(10, dtype=torch.int64), 7).float()
    teachers = torch.nn.functional.one_hot(labels, 7).float()[None]
    values = val_metrics(student, teachers, labels)
    assert values["fidelity_val"] == pytest.approx(0.9)
    assert values["fidelity_macro_val"] == 0.5
    assert values["fidelity_worst_class_val"] == 0

"""The evaluation of a student after an epoch: every reported metric.

Shapes: B batch, K of its images, C classes, M teachers, R ways to pair images, V validation images, H x W image.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kd_sweep.attention.compared_maps import ComparedMaps, Overlaps
from kd_sweep.attention.maps import attention_maps
from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.distill.ensembles.ensemble import Ensemble
from kd_sweep.distill.ensembles.epoch_answers import EnsembleEpoch
from kd_sweep.distill.image_means import ImageMeans
from kd_sweep.distill.stream_meter import StreamMeter
from kd_sweep.errors import NonFiniteError, TrialError
from kd_sweep.metrics.class_overlap import ClassMeans, overlap_per_class
from kd_sweep.metrics.epoch_outputs import EpochOutputs
from kd_sweep.metrics.extra_values import extra_metrics
from kd_sweep.metrics.predictions import agreement_per_class, ensemble_log_probabilities, top_1
from kd_sweep.metrics.split_metrics import (
    chance_metrics,
    correct_attention_metrics,
    student_attention_metrics,
    student_lists,
    val_metrics,
)
from kd_sweep.study.metric_catalogue import REPORTED_METRICS, differences, null_where
from kd_sweep.study.metric_record import Null
from kd_sweep.study.recipe import Metrics

_MAY_BE_LACKING = frozenset().union(*map(null_where, (Null.NO_FULL_BATCH, Null.NO_SUCH_IMAGE, Null.NOT_LAST)))


def evaluate(
    student: nn.Module,
    train_loss: float,
    on_train: dict[str, float],
    epoch: int,
    stream: AugmentationStream,
    ensemble: Ensemble,
    answers: EnsembleEpoch,
    metrics: Metrics,
    after_last: Mapping[str, float | None],
) -> dict[str, Any]:
    """Return the metrics of `study.metric_catalogue.METRICS`, in their order, and the extra ones of the study.

    Some are lists, or None where they have no meaning or are not requested. The student is left in evaluation mode.

    Args:
        student: after the epoch.
        train_loss: of the epoch.
        on_train: the metrics of split `train`.
        epoch: from 1.
        stream: the student's.
        ensemble: its teachers.
        answers: the teachers' to this epoch, whose training half has been requested.
        metrics: kind of the attention maps, threshold of their regions, and which metrics are requested.
        after_last: metrics that are taken after the last epoch alone; none after others.

    Raises:
        NonFiniteError, TrialError: as `checked_metrics`.
    """
    student.eval()
    with torch.no_grad():
        on_augmented = _augmented_metrics(student, epoch, stream, answers)
        clean_VC, labels_V, on_attention, by_class = _clean_outputs(student, stream, ensemble, metrics)
        on_clean = val_metrics(clean_VC, ensemble.clean_logits, labels_V)
        measured: dict[str, float | None] = dict.fromkeys(_MAY_BE_LACKING) | {"train_loss": train_loss}
        for metrics_of_part in (on_train, on_clean, on_augmented, ensemble.clean_metrics, on_attention, after_last):
            measured |= metrics_of_part
        lists = {**ensemble.clean_lists, **student_lists(clean_VC, ensemble.clean_logits, labels_V)}
        asked = _asked(EpochOutputs(epoch, clean_VC, ensemble.clean_logits, labels_V), by_class, metrics)
    return {**checked_metrics({**measured, **differences(measured)}, epoch, clean_VC.shape[1]), **lists, **asked}


def _asked(outputs: EpochOutputs, overlap_C: list[float | None], metrics: Metrics) -> dict[str, Any]:
    """Return the extra metrics of the study, and those by class, which are None where they are not requested."""
    by_class: dict[str, Any] = dict.fromkeys(("fidelity_per_class_val", "attention_overlap_student_per_class"))
    if metrics.per_class:
        ensemble_log_VC = ensemble_log_probabilities(outputs.teacher_logits_MVC)
        fidelity_C = agreement_per_class(outputs.student_logits_VC, ensemble_log_VC, outputs.labels_V)
        by_class = dict(zip(by_class, (fidelity_C, overlap_C), strict=True))
    return {**extra_metrics(metrics.extra, outputs), **by_class}


def checked_metrics(measured: dict[str, float | None], epoch: int, num_classes: int) -> dict[str, float | None]:
    """Return ``measured`` in the order of `REPORTED_METRICS`.

    Raises:
        NonFiniteError: a metric is NaN or infinite, or missing though it has a meaning for every ensemble.
        TrialError: a metric has a value outside the range that the catalogue gives it.
    """
    for name, metric in REPORTED_METRICS.items():
        value = measured[name]
        if not (metric.can_be_null if value is None else math.isfinite(value)):
            raise NonFiniteError(f"{name} is {value} in epoch {epoch}")
        if value is not None and not metric.range.holds(value, num_classes):
            raise TrialError(f"{name} is {value} in epoch {epoch}, outside its range, {metric.range.text}")
    return {name: measured[name] for name in REPORTED_METRICS}


def _augmented_metrics(
    student: nn.Module, epoch: int, stream: AugmentationStream, answers: EnsembleEpoch
) -> dict[str, float]:
    meter = StreamMeter("val_augmented")
    for batch in stream.augmented_val(epoch):
        meter.add(student(batch.images_BDHW), answers.val_augmented_logits(batch), batch.labels_B)
    return meter.metrics()


class _CleanOutputs(NamedTuple):
    """Of the student, on clean validation images."""

    logits_VC: Tensor
    labels_V: Tensor
    attention: dict[str, float | None]
    overlap_per_class: list[float | None]


def _clean_outputs(
    student: nn.Module, stream: AugmentationStream, ensemble: Ensemble, metrics: Metrics
) -> _CleanOutputs:
    logits, labels = [], []
    overlap, apart = (_StudentOverlap(stream.dataset.num_classes) for _ in range(2))
    for batch in stream.clean_batches(stream.dataset.val):
        logits_BC, maps_BHW = attention_maps(student, batch.images_BDHW, metrics)
        logits.append(logits_BC)
        labels.append(batch.labels_B)
        correct_B = (top_1(logits_BC) == batch.labels_B) & ensemble.is_right(batch.indices_B)
        student_B = ComparedMaps.of(maps_BHW, metrics.cam_threshold)
        overlap.add(student_B, ensemble.clean_maps(batch.indices_B), correct_B, batch.labels_B)
        apart.add(student_B, ensemble.maps_of_other_images(batch.indices_B), correct_B, batch.labels_B)
    attention = {**overlap.values(), **chance_metrics(overlap.values(), apart.values())}
    by_class = overlap_per_class(overlap.by_class, apart.by_class)
    return _CleanOutputs(torch.cat(logits), torch.cat(labels), attention, by_class)


class _StudentOverlap:
    """How far the student's attention is that of its teachers: of all images, those that all have right, a class."""

    def __init__(self, num_classes: int) -> None:
        self._all, self._correct = ImageMeans(), ImageMeans()
        self.by_class = ClassMeans(num_classes)

    def add(self, student_B: ComparedMaps, teachers_RMB: ComparedMaps, correct_B: Tensor, labels_B: Tensor) -> None:
        overlaps = Overlaps.with_student(student_B, teachers_RMB)
        self.by_class.add(overlaps.iou_SRPB[0], labels_B)
        for means in student_attention_metrics(student_B, overlaps):
            self._all.add(means, len(correct_B))
        correct_K = correct_B.nonzero()[:, 0].cpu()
        if num_correct := len(correct_K):
            for means in correct_attention_metrics(overlaps, correct_K):
                self._correct.add(means, num_correct)

    def values(self) -> dict[str, float]:
        return {**self._all.values(), **self._correct.values()}

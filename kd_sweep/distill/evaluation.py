"""Every reported metric of a student after an epoch.

Shapes: B batch, C classes, M teachers, V validation images.
"""

import math

import torch
from torch import Tensor, nn

from kd_sweep.distill.ensemble import Ensemble, EnsembleEpoch, clean_batch
from kd_sweep.distill.training import TrainedEpoch
from kd_sweep.errors import NonFiniteError
from kd_sweep.metrics.attention import attention_iou_student
from kd_sweep.metrics.splits import stream_metrics, val_metrics
from kd_sweep.study.reported import NULL_FOR_ONE_TEACHER, REPORTED_METRICS
from kd_sweep.vision.augmentation import AugmentationStream


def evaluate(
    student: nn.Module,
    trained: TrainedEpoch,
    epoch: int,
    stream: AugmentationStream,
    ensemble: Ensemble,
    answers: EnsembleEpoch,
    cam_threshold: float,
) -> dict[str, float | None]:
    """Return the metrics of `study.reported.REPORTED_METRICS`, in their order; the student is left in evaluation mode.

    Args:
        student: after the epoch.
        trained: what it said while the epoch trained it.
        epoch: from 1.
        stream: the student's.
        ensemble: its teachers.
        answers: the teachers' to this epoch; their training half has been asked for.
        cam_threshold: of the attention regions.

    Raises:
        NonFiniteError: a metric is NaN or infinite.
    """
    student.eval()
    with torch.no_grad():
        augmented_VC, labels_V = _augmented_logits(student, epoch, stream, answers)
        clean_VC, attention_iou = _clean_logits(student, stream, ensemble, cam_threshold)
        teacher_train_MNC, teacher_augmented_MVC = answers.finish()
        on_train = stream_metrics(trained.logits_NC, teacher_train_MNC, trained.labels_N, "train")
        on_clean = val_metrics(clean_VC, ensemble.clean_logits, labels_V)
        measured: dict[str, float | None] = {
            "train_loss": trained.loss,
            **on_train,
            **on_clean,
            **stream_metrics(augmented_VC, teacher_augmented_MVC, labels_V, "val_augmented"),
            **ensemble.clean_metrics,
            "attention_iou_student": attention_iou,
            "generalization_gap": on_train["train_accuracy"] - on_clean["val_accuracy"],
        }
    return checked_metrics(measured, epoch)


def checked_metrics(measured: dict[str, float | None], epoch: int) -> dict[str, float | None]:
    """Return ``measured`` in the order of `REPORTED_METRICS`.

    Raises:
        NonFiniteError: a metric is NaN or infinite, or missing though it has a meaning for every ensemble.
    """
    for name in REPORTED_METRICS:
        value = measured[name]
        if not (name in NULL_FOR_ONE_TEACHER if value is None else math.isfinite(value)):
            raise NonFiniteError(f"{name} is {value} in epoch {epoch}")
    return {name: measured[name] for name in REPORTED_METRICS}


def _augmented_logits(
    student: nn.Module, epoch: int, stream: AugmentationStream, answers: EnsembleEpoch
) -> tuple[Tensor, Tensor]:
    logits, labels = [], []
    for batch in stream.augmented_val(epoch):
        answers.val_augmented_logits(batch)
        logits.append(student(batch.images_BDHW).float())
        labels.append(batch.labels_B)
    return torch.cat(logits), torch.cat(labels)


def _clean_logits(
    student: nn.Module, stream: AugmentationStream, ensemble: Ensemble, cam_threshold: float
) -> tuple[Tensor, float]:
    logits, overlaps, num_images = [], 0.0, 0
    for batch in stream.clean_batches(stream.dataset.val):
        logits_BC, regions_BHW = clean_batch(student, batch, cam_threshold)
        logits.append(logits_BC)
        overlaps += attention_iou_student(regions_BHW, ensemble.clean_regions(batch)) * len(batch)
        num_images += len(batch)
    return torch.cat(logits), overlaps / num_images

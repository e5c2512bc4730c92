"""The reported metrics of one split, from what the networks said about its images.

The keys are those of `kd_sweep.study.reported.REPORTED_METRICS`. `train_loss` is the training loop's own,
`generalization_gap` the difference of two others; the attention metrics come batch by batch from `metrics.attention`.

Shapes: N images, C classes, M teachers.
"""

from torch import Tensor

from kd_sweep.metrics.calibration import expected_calibration_error
from kd_sweep.metrics.predictions import (
    accuracy,
    agreement,
    ensemble_log_probabilities,
    negative_log_likelihood,
    predictive_entropy,
    predictive_kl,
    top_k_accuracy,
)


def fidelity_metrics(student_logits_NC: Tensor, teacher_logits_MNC: Tensor, split: str) -> dict[str, float]:
    """Return `fidelity_{split}` and `predictive_kl_{split}` for split `train`, `val` or `val_augmented`."""
    return {
        f"fidelity_{split}": agreement(student_logits_NC, ensemble_log_probabilities(teacher_logits_MNC)),
        f"predictive_kl_{split}": predictive_kl(teacher_logits_MNC, student_logits_NC),
    }


def stream_metrics(
    student_logits_NC: Tensor, teacher_logits_MNC: Tensor, labels_N: Tensor, split: str
) -> dict[str, float]:
    """Return `{split}_accuracy` and the fidelity metrics for a stream, `train` or `val_augmented`."""
    return {
        f"{split}_accuracy": accuracy(student_logits_NC, labels_N),
        **fidelity_metrics(student_logits_NC, teacher_logits_MNC, split),
    }


def val_metrics(student_logits_NC: Tensor, teacher_logits_MNC: Tensor, labels_N: Tensor) -> dict[str, float]:
    """Return what is said of the student on clean validation images, but for its attention."""
    return {
        "val_loss": negative_log_likelihood(student_logits_NC, labels_N),
        "val_accuracy": accuracy(student_logits_NC, labels_N),
        "val_top5_accuracy": top_k_accuracy(student_logits_NC, labels_N, 5),
        **fidelity_metrics(student_logits_NC, teacher_logits_MNC, "val"),
        "entropy_student": predictive_entropy(student_logits_NC),
        "ece": expected_calibration_error(student_logits_NC, labels_N),
    }


def teacher_metrics(teacher_logits_MNC: Tensor, labels_N: Tensor) -> dict[str, float]:
    """Return what is said of the teachers alone on clean validation images, but for their attention."""
    ensemble_log_probabilities_NC = ensemble_log_probabilities(teacher_logits_MNC)
    members = [accuracy(logits_NC, labels_N) for logits_NC in teacher_logits_MNC]
    return {
        "entropy_teachers": predictive_entropy(ensemble_log_probabilities_NC),
        "teacher_accuracy": sum(members) / len(members),
        "ensemble_accuracy": accuracy(ensemble_log_probabilities_NC, labels_N),
    }

"""The metrics as the paper's published code takes them (RethinkKD, arXiv 2405.00739), to compare with its figures.

They differ from the definitions that carry the plain names: most are means over batches, in which a smaller last batch
weighs as much as a full one, so they depend on the batch size; an ensemble predicts by its mean logits; the divergence
has its roles swapped and is multiplied by ten; regions are pooled over a batch; calibration bins weigh the same
whatever they hold. Every function takes a whole split and divides it: ``batch_size`` is what `torch.split` takes.

Shapes: N images, C classes, M teachers, K bins, H x W pixels.
"""

from collections.abc import Callable
from functools import reduce
from operator import and_, or_

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_sweep.attention.packed_regions import PackedRegions
from kd_sweep.metrics.calibration import calibration_bins
from kd_sweep.metrics.information import mutual_information
from kd_sweep.metrics.predictions import agreement, predictive_entropy, predictive_kl, top_1

BATCH_SIZE = 128
"""Of the paper's recipe."""
KL_SCALE = 10.0
TEMPERATURE = 3.0
ALPHA = 0.6
"""Weight of the hard label."""
ECE_BINS = 10

Batches = int | list[int]
"""Size of every batch but a smaller last one, or the sizes of all."""


def mean_logits(teacher_logits_MNC: Tensor) -> Tensor:
    """Return the ensemble's logits, the mean of the members', float64 (N, C)."""
    return teacher_logits_MNC.double().mean(0)


def fidelity_rethinkkd(
    student_logits_NC: Tensor, teacher_logits_MNC: Tensor, batch_size: Batches = BATCH_SIZE
) -> float:
    """Return the share of images where the student and the mean logits agree on the top-1 class, mean over batches."""
    return _batch_mean(agreement, batch_size, student_logits_NC, mean_logits(teacher_logits_MNC))


def predictive_kl_rethinkkd(
    student_logits_NC: Tensor, teacher_logits_MNC: Tensor, batch_size: Batches = BATCH_SIZE
) -> float:
    """Return ``10 * KL(student || softmax(mean logits))`` at temperature 1, in nats, mean over batches."""

    def swapped(student_logits_BC: Tensor, ensemble_logits_BC: Tensor) -> float:
        return KL_SCALE * predictive_kl(student_logits_BC[None], ensemble_logits_BC)

    return _batch_mean(swapped, batch_size, student_logits_NC, mean_logits(teacher_logits_MNC))


def entropy_rethinkkd(logits_NC: Tensor, batch_size: Batches = BATCH_SIZE) -> float:
    """Return the mean predictive entropy, in nats, mean over batches."""
    return _batch_mean(predictive_entropy, batch_size, logits_NC)


def mutual_information_rethinkkd(
    student_logits_NC: Tensor, teacher_logits_MNC: Tensor, batch_size: Batches = BATCH_SIZE
) -> float:
    """Return the mutual information of the top-1 classes of student and mean logits within a batch, mean over batches.

    It is `sklearn.metrics.mutual_info_score` per batch, in nats. The fewer images a batch has for each pair of classes,
    the larger it is for predictors that have nothing to do with each other.
    """
    ensemble_logits_NC = mean_logits(teacher_logits_MNC)
    return _batch_mean(mutual_information, batch_size, top_1(student_logits_NC), top_1(ensemble_logits_NC))


def ece_rethinkkd(logits_NC: Tensor, labels_N: Tensor, num_bins: int = ECE_BINS) -> float:
    """Return the mean over the bins of |accuracy - confidence|, whatever a bin holds; an empty one counts as 0."""
    return mean_gap(*calibration_bins(logits_NC, labels_N, num_bins))


def mean_gap(counts_K: Tensor, correct_K: Tensor, confidence_K: Tensor) -> float:
    """Return the same from the sums of each of the K bins, of `metrics.calibration.calibration_bins`."""
    return float(((correct_K - confidence_K).abs() / counts_K.clamp(min=1)).mean())


def attention_iou_rethinkkd(regions_MN: PackedRegions, batch_size: Batches = BATCH_SIZE) -> float | None:
    """Return the pixels in all regions over the pixels in any, pooled over a batch, mean over images; None where M = 1.

    With three networks or more it is one intersection and one union of all of them, not a mean over pairs. Batches
    count by their number of images. A batch of empty regions counts as 1.

    Args:
        regions_MN: one region per network and image.
        batch_size: see above.
    """
    if len(regions_MN.words) < 2:
        return None
    members = [regions_MN[member] for member in range(len(regions_MN.words))]
    counts = (torch.from_numpy(reduce(joined, members).counts()) for joined in (or_, and_))
    total = 0.0
    for union_B, intersection_B in zip(*(torch.split(counts_N, batch_size) for counts_N in counts), strict=True):
        union = int(union_B.sum())
        total += (int(intersection_B.sum()) / union if union else 1.0) * len(union_B)
    return total / len(members[0].words)


def distillation_loss_rethinkkd(
    student_logits_NC: Tensor,
    teacher_logits_MNC: Tensor,
    labels_N: Tensor,
    batch_size: Batches = BATCH_SIZE,
    *,
    temperature: float = TEMPERATURE,
    alpha: float = ALPHA,
) -> float:
    """Return the mean over batches and teachers of ``alpha * CE + (1 - alpha) * T² * KL(teacher || student)``."""

    def loss(student_logits_BC: Tensor, labels_B: Tensor, *teacher_logits: Tensor) -> float:
        hard = F.cross_entropy(student_logits_BC.double(), labels_B)
        student_log_BC = F.log_softmax(student_logits_BC.double() / temperature, dim=1)
        match = [
            F.kl_div(student_log_BC, F.log_softmax(logits_BC / temperature, 1), reduction="batchmean", log_target=True)
            for logits_BC in teacher_logits
        ]
        return float(alpha * hard + (1 - alpha) * temperature**2 * torch.stack(match).mean())

    return _batch_mean(loss, batch_size, student_logits_NC, labels_N, *teacher_logits_MNC.double())


def _batch_mean(metric: Callable[..., float], batch_size: Batches, *tensors: Tensor) -> float:
    values = [metric(*parts) for parts in zip(*(torch.split(tensor, batch_size) for tensor in tensors), strict=True)]
    return sum(values) / len(values)

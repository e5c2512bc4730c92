"""Calibration: how far confidence can be trusted.

Shapes: N images, C classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_sweep.metrics.predictions import top_1
from kd_sweep.study.metric_catalogue import CALIBRATION_BINS


class Reliability(NamedTuple):
    """Images by confidence, in bins of equal width from 0 to 1."""

    num_images: list[float]
    """Images in each bin."""
    confidence: list[float | None]
    """Their mean confidence; None in an empty bin."""
    accuracy: list[float | None]
    """Their top-1 accuracy; None in an empty bin."""


def expected_calibration_error(logits_NC: Tensor, labels_N: Tensor, num_bins: int = CALIBRATION_BINS) -> float:
    r"""Return the expected calibration error, a fraction in [0, 1].

    .. math:: \sum_b \frac{|B_b|}{N} \, | \mathrm{acc}(B_b) - \mathrm{conf}(B_b) |

    Images are sorted by confidence, the probability of their top-1 class, into ``num_bins`` bins of equal width,
    :math:`((b - 1) / n, b / n]`; acc and conf are a bin's mean accuracy and mean confidence (Guo et al. 2017,
    arXiv 1706.04599, equation 5).
    """
    _, correct, confidence = calibration_bins(logits_NC, labels_N, num_bins)
    # The counts cancel: |B|/N * |sum of correct / |B| - sum of confidence / |B||.
    return float((correct - confidence).abs().sum() / len(labels_N))


def calibration_bins(logits_NC: Tensor, labels_N: Tensor, num_bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return per bin of confidence: images, images predicted right, sum of confidence; each float64 (num_bins,)."""
    predicted_N = top_1(logits_NC)
    confidence_N = F.softmax(logits_NC.double(), dim=1).gather(1, predicted_N[:, None])[:, 0]
    edges = torch.linspace(0, 1, num_bins + 1, dtype=torch.float64, device=logits_NC.device)
    bins_N = torch.bucketize(confidence_N, edges[1:-1])
    columns = (torch.ones_like(confidence_N), (predicted_N == labels_N).double(), confidence_N)
    counts, correct, confidence = (
        torch.zeros(num_bins, dtype=torch.float64, device=logits_NC.device).index_add_(0, bins_N, column_N)
        for column_N in columns
    )
    return counts, correct, confidence


def reliability(logits_NC: Tensor, labels_N: Tensor, num_bins: int = CALIBRATION_BINS) -> Reliability:
    """Return what a reliability diagram draws (Guo et al. 2017, arXiv 1706.04599, equations 2 and 3)."""
    counts, correct, confidence = (column.tolist() for column in calibration_bins(logits_NC, labels_N, num_bins))

    def means(sums: list[float]) -> list[float | None]:
        return [of_bin / count if count else None for of_bin, count in zip(sums, counts, strict=True)]

    return Reliability(counts, means(confidence), means(correct))

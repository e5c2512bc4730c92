"""Spearman's rank correlation of whole attention maps, which no threshold cuts.

Shapes: N images, M networks, H x W map, K cells.
"""

from itertools import combinations

import torch
from torch import Tensor
from torch.nn import functional as F

CELLS = 8
"""Maps are compared over so many cells each way: few networks make larger maps, and pixels between are bilinear."""


def unit_ranks(maps_NHW: Tensor) -> Tensor:
    """Return the ranks of a map's cells, float64 (N, K), less their mean and scaled to length 1.

    The inner product of two is the rank correlation of the maps. Equal cells have their mean rank (Spearman 1904). A
    constant map, which ranks nothing, or one that is not finite, is 0 everywhere, and so is its correlation.

    Args:
        maps_NHW: any leading shape of one or two dimensions.
    """
    height, width = maps_NHW.shape[-2:]
    cells_NK = F.adaptive_avg_pool2d(maps_NHW.float(), (min(CELLS, height), min(CELLS, width))).flatten(-2)
    cells_NK = torch.where(cells_NK.isfinite().all(-1, keepdim=True), cells_NK, 0.0).contiguous()
    sorted_NK = cells_NK.sort(-1).values
    below_NK = torch.searchsorted(sorted_NK, cells_NK)
    up_to_NK = torch.searchsorted(sorted_NK, cells_NK, right=True)
    # Twice the mean rank, whose mean over the cells is their number: whole numbers, so that equal maps agree exactly.
    centred_NK = (below_NK + up_to_NK - cells_NK.shape[-1]).double()
    return centred_NK / centred_NK.square().sum(-1, keepdim=True).sqrt().clamp(min=1)


def rank_correlation(maps_NHW: Tensor, other_maps_NHW: Tensor) -> Tensor:
    """Return Spearman's rank correlation of two maps of each image, float64 (N,) in [-1, 1]."""
    return (unit_ranks(maps_NHW) * unit_ranks(other_maps_NHW)).sum(-1)


def rank_correlation_pairs(ranks_MNK: Tensor) -> float | None:
    """Return the rank correlation of the teachers' maps, mean over images and unordered pairs; None for one teacher.

    Args:
        ranks_MNK: of `unit_ranks`.
    """
    pairs = list(combinations(ranks_MNK.unbind(0), 2))
    if not pairs:
        return None
    return float(torch.stack([(first_NK * second_NK).sum(-1) for first_NK, second_NK in pairs]).mean())


def rank_correlation_student(student_ranks_NK: Tensor, teacher_ranks_MNK: Tensor) -> float:
    """Return the rank correlation of the student's and each teacher's map, mean over images and teachers.

    Args:
        student_ranks_NK: of `unit_ranks`.
        teacher_ranks_MNK: the same.
    """
    return float((student_ranks_NK * teacher_ranks_MNK).sum(-1).mean())

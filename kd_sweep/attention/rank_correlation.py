"""Spearman's rank correlation of whole attention maps, which no threshold cuts.

Shapes: N images, M networks, P pairs of them, H x W map, K cells.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_sweep.attention.regions import pairs_of

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


def rank_correlation_pairs(ranks_MNK: Tensor) -> Tensor:
    """Return the rank correlation of the maps of each unordered pair of networks, float64 (…, P, N).

    Args:
        ranks_MNK: of `unit_ranks`, after any other dimensions.
    """
    first_P, second_P = pairs_of(ranks_MNK.shape[-3])
    return (ranks_MNK[..., first_P, :, :] * ranks_MNK[..., second_P, :, :]).sum(-1)

"""Attention regions of images: their area, their overlap, and the overlap that chance gives.

Shapes: M networks, P pairs of them, N images, R ways to pair them, H x W pixels. Regions are bool, or packed.
"""

import math
from itertools import combinations

import torch
from torch import Tensor

from kd_sweep.attention.packed_regions import PackedRegions

CHANCE_PAIRS = 1000
"""Least number of image pairs that a chance level is the mean of; one shift of that many images is enough."""


def attention_regions(maps_NHW: Tensor, threshold: float) -> Tensor:
    """Return where a map is above ``threshold``: bool, of the same shape, which is any."""
    return maps_NHW > threshold


def largest_regions(maps_NHW: Tensor, share: float) -> Tensor:
    """Return the pixels of highest attention that make up ``share`` of a map: bool, of the same shape, which is any.

    Regions of one size cannot overlap more by being larger. Pixels that tie with the last are in it too, but for those
    of the map's lowest value, 0, so a map with little attention has a smaller region and a constant one has none.

    Args:
        maps_NHW: in [0, 1], of `attention.maps.attention_maps`.
        share: in (0, 1].
    """
    values_NK = maps_NHW.flatten(-2)
    num_pixels = max(1, round(share * values_NK.shape[-1]))
    # Not in order, which takes longer: only the last of them is needed.
    last_N11 = values_NK.topk(num_pixels, dim=-1, sorted=False).values.amin(-1)[..., None, None]
    return (maps_NHW >= last_N11) & (maps_NHW > 0)


def intersection_over_union(regions: PackedRegions, other_regions: PackedRegions) -> Tensor:
    r"""Return :math:`|A \cap B| / |A \cup B|` of each two regions, float64 of their leading shape.

    Two empty regions are equal, so theirs is 1 (the usual convention of the Jaccard index).

    Args:
        regions: of any leading shape.
        other_regions: of one that fits it.
    """
    of_both = (regions & other_regions).counts()
    of_any = regions.counts() + other_regions.counts() - of_both
    intersection, union = torch.from_numpy(of_both).double(), torch.from_numpy(of_any).double()
    return torch.where(union > 0, intersection / union.clamp(min=1), 1.0)


def pairs_of(num_networks: int) -> tuple[list[int], list[int]]:
    """Return the first and the second networks of all unordered pairs, in order: (0, 1), (0, 2) and so on."""
    pairs = list(combinations(range(num_networks), 2))
    return [first for first, _ in pairs], [second for _, second in pairs]


def iou_of_pairs(regions_MN: PackedRegions) -> Tensor:
    """Return the IoU of the regions of each unordered pair of networks, float64 (…, P, N), in the order of `pairs_of`.

    Args:
        regions_MN: one region per network and image, after any other dimensions.
    """
    first_P, second_P = pairs_of(regions_MN.words.shape[-3])
    return intersection_over_union(regions_MN.select(first_P, -2), regions_MN.select(second_P, -2))


def attention_area(regions: PackedRegions) -> float:
    """Return the share of an image that a region covers, mean over all regions of any leading shape."""
    counts = regions.counts()
    return int(counts.sum()) / (counts.size * regions.num_pixels)


def other_images(num_images: int, num_networks: int, seed: int = 0) -> Tensor:
    """Return which images to pair with each other for the overlap that chance gives: their indices, int64 (R, M, N).

    The images stand in a random circle. In shift s network m takes the image s * m steps further on. So at each of the
    N positions all networks have different images, and over the positions each has every image once. Where there are
    at least `CHANCE_PAIRS` images one shift is enough. There is none where the images are fewer than the networks.

    Args:
        num_images: N.
        num_networks: M; for one network, and its comparison with another, take 2.
        seed: of the circle.
    """
    circle_N = torch.randperm(num_images, generator=torch.Generator().manual_seed(seed))
    position_N = torch.argsort(circle_N)
    num_shifts = min(math.ceil(CHANCE_PAIRS / num_images), (num_images - 1) // max(1, num_networks - 1))
    steps_RM = torch.arange(1, num_shifts + 1)[:, None] * torch.arange(num_networks)
    return circle_N[(position_N + steps_RM[:, :, None]) % num_images]


def above_chance(iou: float | None, chance: float | None) -> float | None:
    r"""Return :math:`(\mathrm{IoU} - c) / (1 - c)`: 0 for the overlap of chance, 1 for a complete one.

    The correction of Cohen's kappa and of the adjusted Rand index. Negative for less than chance. None without an IoU
    or a chance level, and where the latter is 1: regions that all cover everything, or nothing, tell nothing.
    """
    if iou is None or chance is None or chance >= 1.0:
        return None
    return (iou - chance) / (1.0 - chance)

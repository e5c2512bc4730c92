"""How far two attention regions overlap.

Shapes: M networks, P pairs of them, N images, H x W pixels. Regions are bool.
"""

from itertools import combinations

import torch
from torch import Tensor


def intersection_over_union(regions_NHW: Tensor, other_regions_NHW: Tensor) -> Tensor:
    r"""Return :math:`|A \cap B| / |A \cup B|` per image, float64 (N,).

    Two empty regions are equal, so theirs is 1 (the usual convention of the Jaccard index).

    Args:
        regions_NHW: bool, any leading shape.
        other_regions_NHW: bool, same shape.
    """
    intersection_N = (regions_NHW & other_regions_NHW).sum((-2, -1)).double()
    union_N = (regions_NHW | other_regions_NHW).sum((-2, -1)).double()
    return torch.where(union_N > 0, intersection_N / union_N.clamp(min=1), 1.0)


def attention_iou_pairs(regions_MNHW: Tensor) -> float | None:
    """Return the IoU of the teachers' attention regions, mean over images and unordered pairs; None for one teacher.

    Args:
        regions_MNHW: bool, one region per teacher and image.
    """
    pairs = list(combinations(regions_MNHW.unbind(0), 2))
    if not pairs:
        return None
    return float(torch.stack([intersection_over_union(first, second) for first, second in pairs]).mean())


def attention_iou_student(student_regions_NHW: Tensor, teacher_regions_MNHW: Tensor) -> float:
    """Return the IoU of the student's and each teacher's attention region, mean over images and teachers.

    Args:
        student_regions_NHW: bool.
        teacher_regions_MNHW: bool.
    """
    per_teacher = [intersection_over_union(student_regions_NHW, regions_NHW) for regions_NHW in teacher_regions_MNHW]
    return float(torch.stack(per_teacher).mean())


def attention_area(regions_MNHW: Tensor) -> float:
    """Return the share of an image that a region covers, mean over all regions.

    Args:
        regions_MNHW: bool, any leading shape.
    """
    return float(regions_MNHW.double().mean())

"""What attention maps are compared by, their regions and the ranks of their cells, and how far they overlap.

A map is compared with those of several networks, and again with those of other images, so both are found once. Kinds of
regions, and ways to pair images, are dimensions: all of them are compared at once.

Shapes: S kinds of regions, R ways to pair images, M networks, P pairs of them, N images, B of them, K cells, H x W
image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kd_sweep.attention.packed_regions import PackedRegions
from kd_sweep.attention.rank_correlation import rank_correlation_pairs, unit_ranks
from kd_sweep.attention.regions import attention_regions, intersection_over_union, iou_of_pairs, largest_regions
from kd_sweep.study.attention_metrics import IOU_THRESHOLDS, TOP_SHARES

KINDS = ("", *(f"_{suffix}" for suffix in (*IOU_THRESHOLDS, *TOP_SHARES)))
"""The kinds of regions in their order, by the suffix of their metrics; that of `metrics.cam_threshold` is empty."""


@dataclass(frozen=True)
class ComparedMaps:
    """The regions and ranks of maps, on the CPU, of a leading shape such as (N,) or (M, N).

    Attributes:
        regions: of the shape (S, …), in the order of `KINDS`.
        ranks: of `rank_correlation.unit_ranks`, float64 (…, K).
    """

    regions: PackedRegions
    ranks: Tensor

    @classmethod
    def of(cls, maps_NHW: Tensor, cam_threshold: float) -> "ComparedMaps":
        """Return what maps in [0, 1] are compared by, of any leading shape of one or two dimensions."""
        above = [attention_regions(maps_NHW, threshold) for threshold in (cam_threshold, *IOU_THRESHOLDS.values())]
        largest = [largest_regions(maps_NHW, share) for share in TOP_SHARES.values()]
        return cls(PackedRegions.of(torch.stack([*above, *largest])), unit_ranks(maps_NHW).cpu())

    @classmethod
    def concatenated(cls, parts: "Sequence[ComparedMaps]") -> "ComparedMaps":
        """Return those of the images of all parts, one after another, of one network."""
        regions = PackedRegions.concatenated([part.regions for part in parts])
        return cls(regions, torch.cat([part.ranks for part in parts]))

    @classmethod
    def stacked(cls, of_networks: "Sequence[ComparedMaps]") -> "ComparedMaps":
        """Return those of several networks, with the networks before the images."""
        regions = PackedRegions.stacked([one.regions for one in of_networks])
        return cls(regions, torch.stack([one.ranks for one in of_networks], -3))

    def select(self, indices: Tensor) -> "ComparedMaps":
        """Return those of some images, of one network; the indices have any shape."""
        indices = indices.cpu()
        return ComparedMaps(self.regions.select(indices.numpy()), self.ranks[indices])


@dataclass(frozen=True)
class Overlaps:
    """How far the attention of pairs of networks overlaps, on the CPU.

    Attributes:
        iou_SRPB: intersection over union of their regions, float64, in the order of `KINDS`.
        ranks_RPB: rank correlation of their maps, float64.
    """

    iou_SRPB: Tensor
    ranks_RPB: Tensor

    @classmethod
    def with_student(cls, student_B: ComparedMaps, teachers_RMB: ComparedMaps) -> "Overlaps":
        """Return those of the student and each teacher."""
        iou_SRMB = intersection_over_union(student_B.regions[:, None, None], teachers_RMB.regions)
        return cls(iou_SRMB, (student_B.ranks * teachers_RMB.ranks).sum(-1))

    @classmethod
    def of_pairs(cls, teachers_RMB: ComparedMaps) -> "Overlaps":
        """Return those of all unordered pairs of teachers."""
        return cls(iou_of_pairs(teachers_RMB.regions), rank_correlation_pairs(teachers_RMB.ranks))

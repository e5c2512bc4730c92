"""What attention maps are compared by: their regions and the ranks of their cells.

A map is compared with those of several networks, and again with those of other images, so both are found once.

Shapes: M networks, N images, B of them, K cells, H x W image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kd_sweep.attention.packed_regions import PackedRegions
from kd_sweep.attention.rank_correlation import unit_ranks
from kd_sweep.attention.regions import attention_regions, largest_regions
from kd_sweep.study.attention_metrics import IOU_THRESHOLDS, TOP_SHARES


@dataclass(frozen=True)
class ComparedMaps:
    """The regions and ranks of maps, on the CPU, with a leading shape of (N,), or of (M, N) for several networks.

    Attributes:
        regions: by the suffix of their metrics; that of `metrics.cam_threshold` is empty.
        ranks: of `rank_correlation.unit_ranks`, float64 (…, K).
    """

    regions: Mapping[str, PackedRegions]
    ranks: Tensor

    @classmethod
    def of(cls, maps_NHW: Tensor, cam_threshold: float) -> "ComparedMaps":
        """Return what maps in [0, 1] are compared by, of any leading shape of one or two dimensions."""
        thresholds = {"": cam_threshold, **{f"_{suffix}": threshold for suffix, threshold in IOU_THRESHOLDS.items()}}
        regions = {suffix: attention_regions(maps_NHW, threshold) for suffix, threshold in thresholds.items()}
        regions |= {f"_{suffix}": largest_regions(maps_NHW, share) for suffix, share in TOP_SHARES.items()}
        packed = {suffix: PackedRegions.of(region_NHW) for suffix, region_NHW in regions.items()}
        return cls(packed, unit_ranks(maps_NHW).cpu())

    @classmethod
    def concatenated(cls, parts: "Sequence[ComparedMaps]") -> "ComparedMaps":
        """Return those of the images of all parts, one after another, of one network."""
        regions = {
            suffix: PackedRegions.concatenated([part.regions[suffix] for part in parts]) for suffix in parts[0].regions
        }
        return cls(regions, torch.cat([part.ranks for part in parts]))

    @classmethod
    def stacked(cls, of_networks: "Sequence[ComparedMaps]") -> "ComparedMaps":
        """Return those of several networks, with the networks as first dimension."""
        regions = {
            suffix: PackedRegions.stacked([one.regions[suffix] for one in of_networks])
            for suffix in of_networks[0].regions
        }
        return cls(regions, torch.stack([one.ranks for one in of_networks]))

    def select(self, indices_B: Tensor) -> "ComparedMaps":
        """Return those of some images."""
        indices_B = indices_B.cpu()
        regions = {suffix: packed.select(indices_B.numpy()) for suffix, packed in self.regions.items()}
        return ComparedMaps(regions, self.ranks.index_select(-2, indices_B))

"""Attention regions with a bit for each pixel, whose overlaps are counted 64 pixels at a time.

Counts of pixels are whole numbers: they are those of a sum over the pixels, in a fraction of its time and memory.

Shapes: … any leading shape, H x W pixels, W words of 64 of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

Counts = npt.NDArray[np.int64]

_WORD_PIXELS = 64
_SIDE_BY_SIDE = 0x0102040810204080
"""Times eight bytes of 0 or 1, its highest byte has one bit of each; no two of the other products meet."""


@dataclass(frozen=True)
class PackedRegions:
    """Regions of images, on the CPU.

    Attributes:
        words: int64 (…, W); bits beyond the last pixel are 0.
        num_pixels: of an image.
    """

    words: npt.NDArray[np.int64]
    num_pixels: int

    @classmethod
    def of(cls, regions_NHW: Tensor) -> "PackedRegions":
        """Return regions, bool (…, H, W), packed."""
        pixels = regions_NHW.flatten(-2)
        num_pixels = pixels.shape[-1]
        padded = F.pad(pixels, (0, -num_pixels % _WORD_PIXELS)).contiguous()
        highest = (padded.view(torch.int64) * _SIDE_BY_SIDE) >> 56  # filled up with its sign, which the cast cuts off
        return cls(highest.to(torch.uint8).view(torch.int64).cpu().numpy(), num_pixels)

    @classmethod
    def concatenated(cls, parts: "Sequence[PackedRegions]") -> "PackedRegions":
        """Return the regions of all parts, one after another."""
        return cls(np.concatenate([part.words for part in parts], -2), parts[0].num_pixels)

    @classmethod
    def stacked(cls, of_networks: "Sequence[PackedRegions]") -> "PackedRegions":
        """Return the regions of several networks, with the networks before the images."""
        return cls(np.stack([one.words for one in of_networks], -3), of_networks[0].num_pixels)

    def select(self, indices: "npt.NDArray[np.int64] | Sequence[int]", dimension: int = -1) -> "PackedRegions":
        """Return those of some images, the last dimension of the leading shape; of some networks with -2."""
        # Not by indexing, which may order the memory otherwise, and with it the sums of what is computed from it.
        return PackedRegions(np.take(self.words, indices, dimension - 1), self.num_pixels)

    def __getitem__(self, index: Any) -> "PackedRegions":
        """Return those of an index of the leading shape, as of an array: networks, where they are its first."""
        return PackedRegions(self.words[index], self.num_pixels)

    def __and__(self, other: "PackedRegions") -> "PackedRegions":
        """Return the pixels that are in both."""
        return PackedRegions(self.words & other.words, self.num_pixels)

    def __or__(self, other: "PackedRegions") -> "PackedRegions":
        """Return the pixels that are in any of both."""
        return PackedRegions(self.words | other.words, self.num_pixels)

    def counts(self) -> Counts:
        """Return the number of pixels in each region, (…)."""
        bits = np.bitwise_count(self.words.view(np.uint64)).astype(np.float64)
        # A product takes a quarter of the time of a sum over so few words, and is exact: whole numbers below 2^53.
        counts: Counts = (bits @ np.ones(bits.shape[-1])).astype(np.int64)
        return counts

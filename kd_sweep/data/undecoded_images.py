"""Undecoded images, and datasets of them as every reader returns them. Nothing here loads torch.

Shapes: N images, D = 3 channels (RGB), H x W pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd_sweep.data.splits import Indices

Pixels = NDArray[np.uint8]
Source = str | bytes | Pixels
"""One image: the path of a file, an encoded file's content, or pixels (3, H, W)."""


@dataclass(frozen=True)
class UndecodedImages:
    """Images that are not decoded yet, in a fixed order, with their labels.

    Attributes:
        sources: one per image; or all at once, as uint8 (N, 3, H, W).
        names: of each image in messages and in digests, without the folder that the dataset lies in.
        labels_N: int64, from 0.
    """

    sources: Sequence[Source] | Pixels
    names: Sequence[str]
    labels_N: Indices

    def select(self, indices_N: Indices) -> "UndecodedImages":
        """Return the images at ``indices_N``."""
        if isinstance(self.sources, np.ndarray):
            sources: Sequence[Source] | Pixels = self.sources[indices_N]
        else:
            sources = [self.sources[i] for i in indices_N]
        return UndecodedImages(sources, [self.names[i] for i in indices_N], self.labels_N[indices_N])


@dataclass(frozen=True)
class UndecodedDataset:
    """All images at `data.path`.

    Attributes:
        root: the folder.
        class_names: one per label.
        train: training images.
        val: validation images; None where they have to be split off `train`.
        fingerprint: 16 hexadecimal digits that other pixels, names or labels would change.
        copies: validation images that are copies of training images (or, where they are split off, images that are
            copies of others): few enough to be no mistake.
        passed_over: other files and folders there, which are not read, counted by reason; empty where there are none.
    """

    root: Path
    class_names: tuple[str, ...]
    train: UndecodedImages
    val: UndecodedImages | None
    fingerprint: str
    copies: int = 0
    passed_over: str = ""

"""Datasets in memory: their images, and statistics of the training images.

Shapes: N images, D channels, H x W pixels.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from kd_sweep.data.decoding.decoded_file import StoredImages

STATISTICS_BYTES = 2**29
"""Statistics of larger training sets are those of evenly spaced images, which together have about this size."""
CHUNK_IMAGES = 1024


@dataclass(frozen=True)
class ImageSet:
    """Images and their labels, in a fixed order.

    Attributes:
        images_NDHW: uint8, 0 to 255; may be memory-mapped. `pixels` reads them.
        labels_N: int64, 0 to num_classes - 1.
        stored: checks and mends images that are read from a large file; None where they need no more checks.
    """

    images_NDHW: Tensor
    labels_N: Tensor
    stored: StoredImages | None = None

    def __len__(self) -> int:
        return len(self.labels_N)

    def pixels(self, indices_B: Tensor) -> Tensor:
        """Return a copy of the images at ``indices_B``, uint8 (B, D, H, W), on the device of the set.

        Raises:
            DataError: an image is damaged in its file, and cannot be decoded again.
        """
        pixels_BDHW = self.images_NDHW[indices_B]
        if self.stored is not None:
            self.stored.mend(pixels_BDHW.numpy(), indices_B.numpy())
        return pixels_BDHW

    def to(self, device: torch.device) -> "ImageSet":
        """Return the set in the memory of ``device``.

        Raises:
            DataError: as `pixels`.
        """
        images_NDHW = torch.empty(self.images_NDHW.shape, dtype=torch.uint8, device=device)
        for indices_B in torch.split(torch.arange(len(self)), CHUNK_IMAGES):
            images_NDHW[indices_B[0] : indices_B[-1] + 1] = self.pixels(indices_B)
        return ImageSet(images_NDHW, self.labels_N.to(device))


@dataclass(frozen=True)
class Dataset:
    """A training and a validation set with no image in common.

    Attributes:
        train: training images.
        val: validation images.
        class_names: name of each label.
        horizontal_flip: whether mirroring an image keeps its label.
    """

    train: ImageSet
    val: ImageSet
    class_names: tuple[str, ...]
    horizontal_flip: bool

    @property
    def num_classes(self) -> int:
        """Number of labels."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """1 for greyscale, 3 for colour."""
        return int(self.train.images_NDHW.shape[1])

    @property
    def image_size(self) -> int:
        """Height and width in pixels."""
        return int(self.train.images_NDHW.shape[-1])

    @property
    def _measured_indices(self) -> Tensor:
        """Indices of the training images that statistics are taken of."""
        step = -(-self.train.images_NDHW.numel() // STATISTICS_BYTES)
        return torch.arange(0, len(self.train), step)

    @cached_property
    def _moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        # Counting the 256 values is exact, so the results do not depend on the number of threads.
        levels = torch.arange(256, dtype=torch.float64) / 255
        means, stds = [], []
        counts = torch.zeros(self.channels, 256, dtype=torch.float64)
        for indices_B in torch.split(self._measured_indices, CHUNK_IMAGES):
            pixels_BDHW = self.train.pixels(indices_B)
            for channel in range(self.channels):
                counts[channel] += torch.bincount(pixels_BDHW[:, channel].flatten(), minlength=256)
        for share in counts / counts.sum(1, keepdim=True):
            mean = float((share * levels).sum())
            variance = float((share * (levels - mean) ** 2).sum())
            means.append(mean)
            stds.append(max(variance**0.5, 1 / 255))
        return tuple(means), tuple(stds)

    @property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel over the training images, pixels scaled to [0, 1]."""
        return self._moments[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel over the training images, at least 1/255."""
        return self._moments[1]

    @cached_property
    def background(self) -> tuple[float, ...] | None:
        """The colour, in [0, 1], of at least half of the border pixels; None where there is no such colour.

        It decides what a shifted image uncovers: more of that colour or, without one, the image's own reflection.
        """
        sample_NDHW = self.train.pixels(self._measured_indices[:: max(1, len(self._measured_indices) // 1000)])
        rows = torch.cat([sample_NDHW[:, :, [0, -1], :].flatten(2), sample_NDHW[:, :, :, [0, -1]].flatten(2)], dim=2)
        pixels = rows.transpose(1, 2).reshape(-1, self.channels)
        colours, counts = torch.unique(pixels, dim=0, return_counts=True)
        most = int(counts.argmax())
        if int(counts[most]) * 2 < len(pixels):
            return None
        return tuple(float(level) / 255 for level in colours[most])

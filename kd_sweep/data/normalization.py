"""The normalisation of images by the statistics of the training images.

Shapes: B batch, D channels, H x W pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from kd_sweep.data.dataset import Dataset


@dataclass(frozen=True)
class Normalization:
    """The statistics that bring pixels to zero mean and unit variance, as tensors of shape (D, 1, 1) on the device."""

    mean_D11: Tensor
    std_D11: Tensor
    background_D11: Tensor | None

    @property
    def fill(self) -> list[float] | None:
        """Levels, 0 to 255, of the background colour; None where the dataset has none."""
        return None if self.background_D11 is None else (self.background_D11.flatten() * 255).tolist()

    @classmethod
    def of(cls, dataset: Dataset, device: torch.device) -> "Normalization":
        """Return the statistics of ``dataset``'s training images."""

        def per_channel(levels: tuple[float, ...]) -> Tensor:
            return torch.tensor(levels, dtype=torch.float32, device=device)[:, None, None]

        background = dataset.background
        return cls(
            mean_D11=per_channel(dataset.mean),
            std_D11=per_channel(dataset.std),
            background_D11=None if background is None else per_channel(background),
        )

    def of_pixels(self, pixels_BDHW: Tensor) -> Tensor:
        """Return uint8 pixels as normalised float32."""
        return pixels_BDHW.float().sub_(self.mean_D11 * 255).div_(self.std_D11 * 255)

    def of_levels_(self, images_BDHW: Tensor) -> Tensor:
        """Normalise float32 images in [0, 1] in place."""
        return images_BDHW.sub_(self.mean_D11).div_(self.std_D11)

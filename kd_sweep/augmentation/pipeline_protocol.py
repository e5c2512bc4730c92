"""What a stream asks of a pipeline, and what a pipeline is made for.

Shapes: B batch, D channels, H x W pixels, P random numbers per image.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from kd_sweep.augmentation.mixing import Mixing
from kd_sweep.data.normalization import Normalization


@dataclass(frozen=True)
class PipelineSetting:
    """What a pipeline that is built in is made for."""

    presets: str
    """Whose published presets and policies are for the dataset: `cifar` or `imagenet`."""
    horizontal_flip: bool
    """Whether mirroring keeps the label."""
    normalization: Normalization


class Pipeline(Protocol):
    """A function that augments a batch: a pure one of (pixels, draws, strength). The draws come from the stream."""

    num_draws: int
    """P."""
    mixing: Mixing | None
    """What it then does with each image and another one of the batch; None where nothing."""

    def __call__(self, pixels_BDHW: Tensor, draws_BP: Tensor, strength: float) -> Tensor:
        """Return uint8 ``pixels_BDHW`` augmented and normalised, float32; ``draws_BP`` are in [0, 1), on the CPU."""

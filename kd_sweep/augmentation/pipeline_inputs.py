"""What a pipeline of a plug-in is given.

Shapes: B batch, D channels, H x W pixels, P random numbers per image.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class PipelineInputs:
    """A batch of images, and the random numbers that decide what becomes of each."""

    images_BDHW: Tensor
    """float32 in [0, 1], on the device; D is 1 or 3."""
    draws_BP: Tensor
    """Independent uniform numbers in [0, 1), float32, on the device: the same at every strength, on every device."""
    strength: float
    """In [0, 1]."""
    horizontal_flip: bool
    """Whether mirroring keeps the label."""

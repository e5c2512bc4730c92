"""The images of a dataset as NumPy arrays: what a plug-in returns.

Shapes: N images, H x W pixels, D channels.
"""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class Arrays:
    """A dataset in memory."""

    images: NDArray[Any]
    """(N, H, W) or (N, H, W, D), with D 1 for greyscale or 3 for RGB: uint8, or floats from 0 (black) to 1 (white)."""
    labels: NDArray[Any]
    """(N,), whole numbers from 0 to the number of classes - 1; every class has an image."""
    val_images: NDArray[Any] | None = None
    """Validation images, of the same height, width, channels and type; split off the others when None."""
    val_labels: NDArray[Any] | None = None
    """Their labels."""
    class_names: tuple[str, ...] | None = None
    """One per label; the labels themselves when None."""

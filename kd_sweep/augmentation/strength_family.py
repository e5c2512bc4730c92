"""The continuous family of transforms as a pipeline.

Shapes: B batch, D channels, H x W pixels, P random numbers per image.
"""

from collections.abc import Set

from torch import Tensor

from kd_sweep.augmentation.mixing import Mixing
from kd_sweep.augmentation.transforms import NUM_DRAWS, augment
from kd_sweep.data.normalization import Normalization


class StrengthFamily:
    """The continuous family of `kd_sweep.augmentation.transforms`."""

    num_draws = NUM_DRAWS
    mixing: Mixing | None = None

    def __init__(self, transforms: Set[str], normalization: Normalization) -> None:
        self._transforms = transforms
        self._normalization = normalization

    def __call__(self, pixels_BDHW: Tensor, draws_BP: Tensor, strength: float) -> Tensor:
        """Return the batch."""
        draws_BP = draws_BP.to(pixels_BDHW.device, non_blocking=True)
        return augment(pixels_BDHW, draws_BP, strength, self._transforms, self._normalization)

"""The published pipelines that draw operations for each image: RandAugment, TrivialAugment, AutoAugment.

Shapes: B batch, D channels, H x W pixels, P random numbers per image, N operations of K of them.
"""

import torch
from torch import Tensor

from kd_sweep.augmentation.mixing import Mixing
from kd_sweep.augmentation.operations import IDENTITY, apply_operations
from kd_sweep.augmentation.policies import STANDARD, WIDE, Policy, PolicyTensors, Ranges, operation_indices
from kd_sweep.data.normalization import Normalization

OPERATION_DRAWS = 3
"""For the operation, its sign, and whether it is applied. A fourth decides levels that differ from image to image."""


class RandomOperations:
    """RandAugment (arXiv 1909.13719): operations at a level that is the strength, all from the same list.

    TrivialAugment (arXiv 2103.10158) is one operation of the wide ranges at a uniform level, here up to the strength.
    Some operations have no level. So that the strength has no step at 0, below one half an operation is applied with
    a probability of twice the strength.
    """

    def __init__(
        self,
        num_operations: int,
        ranges: Ranges,
        flips: bool,
        normalization: Normalization,
        mixing: Mixing | None = None,
    ) -> None:
        self.mixing = mixing
        self._draws_each = OPERATION_DRAWS + (ranges is WIDE)
        self.num_draws = 1 + num_operations * self._draws_each
        self._ranges = ranges
        self._flips = flips
        self._normalization = normalization
        self._fill = normalization.fill

    def __call__(self, pixels_BDHW: Tensor, draws_BP: Tensor, strength: float) -> Tensor:
        """Return the batch."""
        probability = min(1.0, 2 * strength)
        pixels_BDHW = _flipped(pixels_BDHW, draws_BP[:, 0] < (probability / 2 if self._flips else 0.0))
        draws_BNK = draws_BP[:, 1:].double().reshape(len(draws_BP), -1, self._draws_each)
        for draws_BK in draws_BNK.unbind(1):
            levels_B = torch.full_like(draws_BK[:, 0], strength)
            if self._ranges is WIDE:
                levels_B = strength * (31 * draws_BK[:, 3]).floor() / 30  # in 31 steps, as published
            pixels_BDHW = randomly_operated(pixels_BDHW, draws_BK, probability, levels_B, self._ranges, self._fill)
        return self._normalization.of_pixels(pixels_BDHW)


class AutoAugment:
    """AutoAugment's policies (arXiv 1805.09501), applied to a share of the images."""

    num_draws = 7
    mixing: Mixing | None = None

    def __init__(self, policy: Policy, flips: bool, normalization: Normalization) -> None:
        self._policy = PolicyTensors.of(policy)
        self._flips = flips
        self._normalization = normalization
        self._fill = normalization.fill

    def __call__(self, pixels_BDHW: Tensor, draws_BP: Tensor, strength: float) -> Tensor:
        """Return the batch."""
        pixels_BDHW = _flipped(pixels_BDHW, draws_BP[:, 0] < (min(1.0, 2 * strength) / 2 if self._flips else 0.0))
        drawn_B = draws_BP[:, 1] < strength
        pixels_BDHW = with_policy(pixels_BDHW, draws_BP[:, 2:], self._policy, self._fill, drawn_B)
        return self._normalization.of_pixels(pixels_BDHW)


def randomly_operated(
    pixels_BDHW: Tensor,
    draws_BK: Tensor,
    probability: float,
    levels_B: Tensor,
    ranges: Ranges,
    fill: list[float] | None,
) -> Tensor:
    """Do one of the operations of ``ranges`` to each image, or none; draws: `OPERATION_DRAWS`."""
    operations_B = operation_indices(ranges.drawn)[(draws_BK[:, 0] * len(ranges.drawn)).long()]
    operations_B = operations_B.where(draws_BK[:, 2] < probability, IDENTITY)
    return _operated(pixels_BDHW, operations_B, levels_B, draws_BK[:, 1], ranges, fill)


def with_policy(
    pixels_BDHW: Tensor, draws_BP: Tensor, policy: PolicyTensors, fill: list[float] | None, drawn_B: Tensor
) -> Tensor:
    """Draws per image: the sub-policy, then probability and sign of each of its steps."""
    draws_BP = draws_BP.double()
    sub_policies_B = (draws_BP[:, 0] * len(policy.operations_S2)).long()
    for step in (0, 1):
        operations_B, probabilities_B, levels_B = (tensor_S2[sub_policies_B, step] for tensor_S2 in policy)
        applied_B = drawn_B & (draws_BP[:, 1 + 2 * step] < probabilities_B)
        operations_B = operations_B.where(applied_B, IDENTITY)
        pixels_BDHW = _operated(pixels_BDHW, operations_B, levels_B, draws_BP[:, 2 + 2 * step], STANDARD, fill)
    return pixels_BDHW


def _operated(
    pixels_BDHW: Tensor,
    operations_B: Tensor,
    levels_B: Tensor,
    signs_B: Tensor,
    ranges: Ranges,
    fill: list[float] | None,
) -> Tensor:
    """Do an operation to each image, at a level that is negative where the sign is drawn below one half."""
    levels_B = torch.where(ranges.is_signed(operations_B) & (signs_B < 0.5), -levels_B, levels_B)
    magnitudes_B = ranges.magnitudes(operations_B, levels_B, pixels_BDHW.shape[-1])
    return apply_operations(pixels_BDHW, operations_B, magnitudes_B, fill)


def _flipped(pixels_BDHW: Tensor, flipped_B: Tensor) -> Tensor:
    # torch.where is slow on bytes.
    mask_B = flipped_B.to(pixels_BDHW.device, torch.uint8) * 255
    return pixels_BDHW ^ ((pixels_BDHW ^ pixels_BDHW.flip(-1)) & mask_B[:, None, None, None])

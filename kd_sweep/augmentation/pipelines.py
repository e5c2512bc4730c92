"""The named augmentation pipelines, from the pixels of a batch to its augmented images.

Every pipeline is a pure function of (pixels, draws, strength); the draws come from the stream.

Shapes: B batch, D channels, H x W pixels, P random numbers per image, N operations of K of them.
"""

from collections.abc import Set
from typing import Protocol

import torch
from torch import Tensor

from kd_sweep.augmentation.mixing import MIXINGS
from kd_sweep.augmentation.operations import IDENTITY, apply_operations
from kd_sweep.augmentation.policies import (
    CIFAR10_POLICY,
    IMAGENET_POLICY,
    RETHINKKD,
    STANDARD,
    WIDE,
    Policy,
    PolicyTensors,
    Ranges,
    operation_indices,
)
from kd_sweep.augmentation.transforms import DRAWS, NUM_DRAWS, augment, crop, recolor
from kd_sweep.data.dataset import Dataset
from kd_sweep.data.normalization import Normalization
from kd_sweep.study.trial import StreamConfig

CIFAR_LIKE = frozenset({"cifar10", "cifar100", "digits"})
"""Datasets whose presets are CIFAR's; the others have ImageNet's."""
CIFAR_CROP_AREA = 0.2
IMAGENET_CROP_AREA = 0.08
CIFAR_ROTATION_DEGREES = 15.0
CUTOUT_PIXELS = 16
PRESET_PROBABILITY = 0.5
"""Probability of each of the two operations of ImageNet's strong preset."""
PRESET_LEVEL_STD = 0.05
"""Deviation of the normal noise about their level, which is the largest: levels above it are cut to it."""
JITTER_STRENGTH = 0.5
"""Strength at which `recolor` changes brightness, contrast and saturation of every image by up to 0.4."""

OPERATION_DRAWS = 3
"""For the operation, its sign, and whether it is applied. A fourth decides levels that differ from image to image."""
CIFAR_POLICY_DRAWS = 6
"""For the sub-policy, probability and sign of both steps, and a spare one."""


class Pipeline(Protocol):
    """A function that augments a batch."""

    num_draws: int
    """P."""

    def __call__(self, pixels_BDHW: Tensor, draws_BP: Tensor, strength: float) -> Tensor:
        """Return uint8 ``pixels_BDHW`` augmented and normalised, float32; ``draws_BP`` are in [0, 1), on the CPU."""


def pipeline_of(stream: StreamConfig, dataset: Dataset, normalization: Normalization) -> Pipeline:
    """Return the pipeline that ``stream`` names."""
    name = stream.augmentation.pipeline
    if name == "strength":
        flips = "geometry" in stream.augmentation.transforms and dataset.horizontal_flip
        return StrengthFamily(frozenset(stream.augmentation.transforms) | ({"flip"} if flips else set()), normalization)
    if name in MIXINGS:
        return RandomOperations(0, STANDARD, dataset.horizontal_flip, normalization)  # flips; the stream mixes them
    cifar = stream.data.name in CIFAR_LIKE
    policy = CIFAR10_POLICY if cifar else IMAGENET_POLICY
    if name == "weak_strong":
        return WeakStrong(cifar, dataset.horizontal_flip, normalization)
    if name == "autoaugment":
        return AutoAugment(policy, dataset.horizontal_flip, normalization)
    num_operations, ranges = (2, STANDARD) if name == "randaugment" else (1, WIDE)
    return RandomOperations(num_operations, ranges, dataset.horizontal_flip, normalization)


class StrengthFamily:
    """The continuous family of `kd_sweep.augmentation.transforms`."""

    num_draws = NUM_DRAWS

    def __init__(self, transforms: Set[str], normalization: Normalization) -> None:
        self._transforms = transforms
        self._normalization = normalization

    def __call__(self, pixels_BDHW: Tensor, draws_BP: Tensor, strength: float) -> Tensor:
        """Return the batch."""
        draws_BP = draws_BP.to(pixels_BDHW.device, non_blocking=True)
        return augment(pixels_BDHW, draws_BP, strength, self._transforms, self._normalization)


class RandomOperations:
    """RandAugment (arXiv 1909.13719): operations at a level that is the strength, all from the same list.

    TrivialAugment (arXiv 2103.10158) is one operation of the wide ranges at a uniform level, here up to the strength.
    Some operations have no level. So that the strength has no step at 0, below one half an operation is applied with
    a probability of twice the strength.
    """

    def __init__(self, num_operations: int, ranges: Ranges, flips: bool, normalization: Normalization) -> None:
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
            pixels_BDHW = _randomly_operated(pixels_BDHW, draws_BK, probability, levels_B, self._ranges, self._fill)
        return self._normalization.of_pixels(pixels_BDHW)


class AutoAugment:
    """AutoAugment's policies (arXiv 1805.09501), applied to a share of the images."""

    num_draws = 7

    def __init__(self, policy: Policy, flips: bool, normalization: Normalization) -> None:
        self._policy = PolicyTensors.of(policy)
        self._flips = flips
        self._normalization = normalization
        self._fill = normalization.fill

    def __call__(self, pixels_BDHW: Tensor, draws_BP: Tensor, strength: float) -> Tensor:
        """Return the batch."""
        pixels_BDHW = _flipped(pixels_BDHW, draws_BP[:, 0] < (min(1.0, 2 * strength) / 2 if self._flips else 0.0))
        drawn_B = draws_BP[:, 1] < strength
        pixels_BDHW = _with_policy(pixels_BDHW, draws_BP[:, 2:], self._policy, self._fill, drawn_B)
        return self._normalization.of_pixels(pixels_BDHW)


class WeakStrong:
    """The presets of the paper (arXiv 2405.00739); the strength is the share of images shown in the strong one."""

    def __init__(self, cifar: bool, flips: bool, normalization: Normalization) -> None:
        self.num_draws = 1 + NUM_DRAWS + (CIFAR_POLICY_DRAWS if cifar else 2 * (OPERATION_DRAWS + 1))
        self._cifar = cifar
        self._policy = PolicyTensors.of(CIFAR10_POLICY)
        self._flips = flips
        self._normalization = normalization
        self._fill = normalization.fill or (normalization.mean_D11.flatten() * 255).tolist()

    def __call__(self, pixels_BDHW: Tensor, draws_BP: Tensor, strength: float) -> Tensor:
        """Return the batch."""
        strong_B = draws_BP[:, 0] < strength
        named = dict(zip(DRAWS, draws_BP[:, 1 : 1 + NUM_DRAWS].to(pixels_BDHW.device).unbind(1), strict=True))
        area = CIFAR_CROP_AREA if self._cifar else IMAGENET_CROP_AREA
        rotation = CIFAR_ROTATION_DEGREES if self._cifar else 0.0
        # Of the CIFAR presets only the weak one rotates.
        angle_B = torch.where(strong_B, 0.0, rotation).to(pixels_BDHW.device)
        images_BDHW = crop(pixels_BDHW.float().div_(255), named, area, angle_B, self._flips, self._normalization)
        if not self._cifar:
            images_BDHW = recolor(images_BDHW, named, JITTER_STRENGTH)
        images_BDHW = self._normalization.of_levels_(self._strengthened(images_BDHW, draws_BP, strong_B))
        if self._cifar:
            images_BDHW = _cut_out_(images_BDHW, named, strong_B.to(images_BDHW.device))
        return images_BDHW

    def _strengthened(self, images_BDHW: Tensor, draws_BP: Tensor, strong_B: Tensor) -> Tensor:
        """Return levels in [0, 1] with the strong images changed by a policy, which works on 256 levels."""
        if not bool(strong_B.any()):
            return images_BDHW
        strong_indices = strong_B.nonzero()[:, 0]
        draws_BP = draws_BP[strong_indices, 1 + NUM_DRAWS :]
        on_device = strong_indices.to(images_BDHW.device)
        levels_BDHW = images_BDHW.index_select(0, on_device).mul_(255).round_().clamp_(0, 255)
        pixels_BDHW = levels_BDHW.to(torch.int16).to(torch.uint8)  # four times as fast as at once
        if self._cifar:
            pixels_BDHW = _with_policy(pixels_BDHW, draws_BP, self._policy, self._fill, torch.ones(len(draws_BP)) > 0)
        else:
            for draws_BK in torch.split(draws_BP.double(), OPERATION_DRAWS + 1, 1):
                levels_B = (1 + PRESET_LEVEL_STD * torch.special.ndtri(draws_BK[:, 3])).clamp(0, 1)
                pixels_BDHW = _randomly_operated(
                    pixels_BDHW, draws_BK, PRESET_PROBABILITY, levels_B, RETHINKKD, self._fill
                )
        return images_BDHW.index_copy_(0, on_device, pixels_BDHW.float().div_(255))


def _randomly_operated(
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


def _with_policy(
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


def _cut_out_(images_BDHW: Tensor, draws: dict[str, Tensor], cut_B: Tensor) -> Tensor:
    """Set one square per image, centred anywhere in it, to the mean colour (arXiv 1708.04552)."""
    size = images_BDHW.shape[-1]
    side = min(CUTOUT_PIXELS, size // 2)
    positions = torch.arange(size, device=images_BDHW.device)
    inside = []
    for u_B in (draws["top"], draws["left"]):
        first_B1 = (u_B * size).floor()[:, None] - side // 2
        inside.append(((positions >= first_B1) & (positions < first_B1 + side)).float())
    # Products of floats: masks of bytes take five times as long.
    cut_BHW = (inside[0] * cut_B[:, None])[:, :, None] * inside[1][:, None, :]
    return images_BDHW.mul_((1 - cut_BHW)[:, None])

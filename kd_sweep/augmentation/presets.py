"""The weak and the strong preset of the paper, for each of two kinds of datasets.

Shapes: B batch, D channels, H x W pixels, P random numbers per image, K of an operation.
"""

import torch
from torch import Tensor

from kd_sweep.augmentation.mixing import Mixing
from kd_sweep.augmentation.policies import CIFAR10_POLICY, RETHINKKD, PolicyTensors
from kd_sweep.augmentation.random_operations import OPERATION_DRAWS, randomly_operated, with_policy
from kd_sweep.augmentation.transforms import DRAWS, NUM_DRAWS, crop, recolor
from kd_sweep.data.normalization import Normalization

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

CIFAR_POLICY_DRAWS = 6
"""For the sub-policy, probability and sign of both steps, and a spare one."""


class WeakStrong:
    """The presets of the paper (arXiv 2405.00739); the strength is the share of images shown in the strong one."""

    mixing: Mixing | None = None

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
            pixels_BDHW = with_policy(pixels_BDHW, draws_BP, self._policy, self._fill, torch.ones(len(draws_BP)) > 0)
        else:
            for draws_BK in torch.split(draws_BP.double(), OPERATION_DRAWS + 1, 1):
                levels_B = (1 + PRESET_LEVEL_STD * torch.special.ndtri(draws_BK[:, 3])).clamp(0, 1)
                pixels_BDHW = randomly_operated(
                    pixels_BDHW, draws_BK, PRESET_PROBABILITY, levels_B, RETHINKKD, self._fill
                )
        return images_BDHW.index_copy_(0, on_device, pixels_BDHW.float().div_(255))


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

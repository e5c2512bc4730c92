"""The image operations that AutoAugment and its successors choose from, on batches of uint8 images.

An operation has a level in [0, 1] of its own range (arXiv 1805.09501, table 6; the wide ranges are those of
arXiv 2103.10158), and some a sign. Images that drew the same are computed together.

Shapes: B batch, D channels, H x W pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

SIGNED = frozenset(
    {
        *("shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
        *("brightness", "color", "contrast", "sharpness"),
    }
)
OPERATIONS = ("identity", *sorted(SIGNED), "posterize", "solarize", "autocontrast", "equalize")
"""Of RandAugment and TrivialAugment. AutoAugment also has `invert`."""


@dataclass(frozen=True)
class Ranges:
    """The magnitude of level 1. Bits are those that posterize takes away of 8."""

    shear: float
    rotation_degrees: float
    color: float
    posterize_bits: int
    shift_pixels: int | None
    """None: 150/331 of the width."""


STANDARD = Ranges(shear=0.3, rotation_degrees=30.0, color=0.9, posterize_bits=4, shift_pixels=None)
WIDE = Ranges(shear=0.99, rotation_degrees=135.0, color=0.99, posterize_bits=6, shift_pixels=32)

Choice = tuple[str, float]
"""An operation and its level, which is negative for a negative sign."""


def apply_operations(
    pixels_BDHW: Tensor, choices: Sequence[Choice], fill: list[float] | None, ranges: Ranges = STANDARD
) -> Tensor:
    """Return ``pixels_BDHW`` with one operation done to each image.

    Args:
        pixels_BDHW: uint8.
        choices: an operation for each image.
        fill: level 0 to 255 of each channel where an operation uncovers pixels; black when None.
        ranges: what level 1 means.
    """
    places: dict[Choice, list[int]] = {}
    for place, choice in enumerate(choices):
        if choice[0] != "identity":
            places.setdefault(choice, []).append(place)
    changed_BDHW = pixels_BDHW.clone()
    for (name, level), group in places.items():
        index = torch.tensor(group, device=pixels_BDHW.device)
        changed_BDHW[index] = _operate(pixels_BDHW[index], name, level, fill, ranges)
    return changed_BDHW


def _operate(images_BDHW: Tensor, name: str, level: float, fill: list[float] | None, ranges: Ranges) -> Tensor:
    # Loaded here: the strength family, which most studies use, needs no torchvision.
    from torchvision.transforms.v2 import functional as F

    changed_BDHW: Tensor
    if name.startswith("shear"):
        # The angle whose tangent is the shear, from the upper left corner on, as published.
        degrees = math.degrees(math.atan(ranges.shear * level))
        shear = [degrees, 0.0] if name.endswith("x") else [0.0, degrees]
        changed_BDHW = F.affine(images_BDHW, 0.0, [0, 0], 1.0, shear, fill=fill, center=[0, 0])
    elif name.startswith("translate"):
        width = images_BDHW.shape[-1]
        largest = width * 150 / 331 if ranges.shift_pixels is None else min(ranges.shift_pixels, width)
        shift = int(largest * level)
        translate = [shift, 0] if name.endswith("x") else [0, shift]
        changed_BDHW = F.affine(images_BDHW, 0.0, translate, 1.0, [0.0, 0.0], fill=fill)
    elif name == "rotate":
        changed_BDHW = F.rotate(images_BDHW, ranges.rotation_degrees * level, fill=fill)
    elif name == "posterize":
        changed_BDHW = F.posterize(images_BDHW, 8 - round(ranges.posterize_bits * level))
    elif name == "solarize":
        changed_BDHW = F.solarize(images_BDHW, 255 * (1 - level))
    elif name in _FACTORS:
        changed_BDHW = getattr(F, _FACTORS[name])(images_BDHW, 1 + ranges.color * level)
    else:  # autocontrast, equalize, invert
        changed_BDHW = getattr(F, name)(images_BDHW)
    return changed_BDHW


_FACTORS = {
    "brightness": "adjust_brightness",
    "color": "adjust_saturation",
    "contrast": "adjust_contrast",
    "sharpness": "adjust_sharpness",
}

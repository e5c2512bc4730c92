"""The transforms that `augmentation_strength` s in [0, 1] scales: one warp, one recolouring, one rectangle per image.

Each transform of an image is decided by uniform random numbers that do not depend on s; s scales them, continuously
and monotonically. So an image that a transform is applied to has it at every higher strength, with larger angles,
shifts, factors and areas, and the mean distance from the clean images grows. The distance of a single image can fall
in between, as where a pattern is shifted onto itself, or a growing rectangle moves off what it covered:

========== ================================== =======================================================
transform  applied with probability           magnitude
========== ================================== =======================================================
flip       min(1, 2s) / 2                     mirrored left to right, where that keeps the label
geometry   min(1, 2s)                         rotation up to 30s degrees, shift up to 0.3s of the width,
                                              shear up to 0.3s, size times (1 + 0.5s)^[-1, 1]
color      min(1, 2s)                         brightness, contrast and saturation each times 1 +- 0.8s
erasing    0.8s                               a rectangle of up to 0.4s of the area becomes the mean colour
========== ================================== =======================================================

Pixels uncovered by a warp take the dataset's background colour, or reflect the image where it has none. Colours are
computed in one linear step and clipped to [0, 1] once.

Shapes: B batch, D channels, H x W pixels, P random numbers per image.
"""

import math
from collections.abc import Set

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_sweep.augmentation.warp_grids import sampling_grid
from kd_sweep.data.normalization import Normalization

MAX_ROTATION_DEGREES = 30.0
MAX_SHIFT = 0.3
MAX_SHEAR = 0.3
MAX_SIZE_CHANGE = 0.5
MAX_COLOR_CHANGE = 0.8
MAX_ERASED_AREA = 0.4
ERASING_PROBABILITY = 0.8
MAX_ASPECT = 3.0

DRAWS = (
    *("flip", "geometry", "rotation", "shear", "size", "shift_x", "shift_y"),
    *("color", "brightness", "contrast", "saturation"),
    *("erasing", "area", "aspect", "left", "top"),
)
NUM_DRAWS = len(DRAWS)

# ITU-R BT.601, as PIL and torchvision weigh the channels.
_GREY_WEIGHTS = (0.299, 0.587, 0.114)


def augment(
    pixels_BDHW: Tensor, draws_BP: Tensor, strength: float, transforms: Set[str], normalization: Normalization
) -> Tensor:
    """Return ``pixels_BDHW`` distorted and normalised.

    Args:
        pixels_BDHW: uint8.
        draws_BP: independent uniform random numbers in [0, 1), `NUM_DRAWS` per image.
        strength: s in [0, 1]; 0 gives the clean normalised images exactly.
        transforms: any of `geometry`, `flip`, `color`, `erasing`.
        normalization: the dataset's statistics.

    Returns:
        float32, same shape and device.
    """
    if strength == 0:
        return normalization.of_pixels(pixels_BDHW)
    draws = dict(zip(DRAWS, draws_BP.unbind(1), strict=True))
    images_BDHW = pixels_BDHW.float().div_(255)
    if transforms & {"geometry", "flip"}:
        images_BDHW = _warp(images_BDHW, _inverse_affine(draws, strength, transforms), normalization.background_D11)
    if "color" in transforms:
        images_BDHW = recolor(images_BDHW, draws, strength)
    images_BDHW = normalization.of_levels_(images_BDHW)
    if "erasing" in transforms:
        images_BDHW = _erase_(images_BDHW, draws, strength)
    return images_BDHW


def _within(u_B: Tensor, bound: float) -> Tensor:
    """Map [0, 1) to [-bound, bound)."""
    return (2 * u_B - 1) * bound


def _inverse_affine(draws: dict[str, Tensor], s: float, transforms: Set[str]) -> Tensor:
    """Return (B, 2, 3) matrices from output to input coordinates, both in [-1, 1] across the image."""
    drawn_B = ((draws["geometry"] < min(1.0, 2 * s)) & ("geometry" in transforms)).float()
    angle_B = _within(draws["rotation"], math.radians(MAX_ROTATION_DEGREES) * s) * drawn_B
    shear_B = _within(draws["shear"], MAX_SHEAR * s) * drawn_B
    size_B = torch.exp(_within(draws["size"], math.log1p(MAX_SIZE_CHANGE * s)) * drawn_B)
    # The image is two units wide.
    shift_B2 = torch.stack([_within(draws[axis], 2 * MAX_SHIFT * s) * drawn_B for axis in ("shift_x", "shift_y")], 1)
    flipped_B = (draws["flip"] < min(1.0, 2 * s) / 2) & ("flip" in transforms)
    mirror_B = 1 - 2 * flipped_B.float()

    # Forward: size * rotation * shear * mirror, then the shift. The inverse is written out.
    cos_B, sin_B = torch.cos(angle_B), torch.sin(angle_B)
    rows = [
        torch.stack([(cos_B + shear_B * sin_B) * mirror_B, (sin_B - shear_B * cos_B) * mirror_B], 1),
        torch.stack([-sin_B, cos_B], 1),
    ]
    linear_B22 = torch.stack(rows, 1) / size_B[:, None, None]
    offset_B2 = -(linear_B22 * shift_B2[:, None, :]).sum(2)
    return torch.cat([linear_B22, offset_B2[:, :, None]], 2)


def crop(
    images_BDHW: Tensor,
    draws: dict[str, Tensor],
    smallest_area: float,
    max_degrees_B: Tensor,
    flips: bool,
    normalization: Normalization,
) -> Tensor:
    """Return random crops (Szegedy et al. 2014, arXiv 1409.4842, section 6), rotated and mirrored, at the same size.

    Area uniform in [``smallest_area``, 1], aspect log-uniform in [3/4, 4/3], cut to the image; angle uniform; half of
    the images mirrored where ``flips``. One resampling does it all.

    Args:
        images_BDHW: float32 in [0, 1].
        draws: uniform random numbers in [0, 1), (B,) each.
        smallest_area: as a fraction.
        max_degrees_B: largest angle of each image.
        flips: whether mirroring keeps the label.
        normalization: has the colour of what a rotation uncovers.
    """
    area_B = smallest_area + draws["area"] * (1 - smallest_area)
    stretch_B = torch.exp(_within(draws["aspect"], math.log(4 / 3) / 2))
    width_B, height_B = ((area_B.sqrt() * stretch).clamp(max=1) for stretch in (stretch_B, 1 / stretch_B))
    mirror_B = 1 - 2 * ((draws["flip"] < 0.5) & flips).float()
    angle_B = _within(draws["rotation"], 1.0) * torch.deg2rad(max_degrees_B)
    cos_B, sin_B = torch.cos(angle_B), torch.sin(angle_B)
    x_B, y_B = ((2 * draws[axis] - 1) * (1 - side) for axis, side in (("left", width_B), ("top", height_B)))
    rows = [
        torch.stack([width_B * mirror_B * cos_B, width_B * mirror_B * sin_B, x_B], 1),
        torch.stack([-height_B * sin_B, height_B * cos_B, y_B], 1),
    ]
    return _warp(images_BDHW, torch.stack(rows, 1), normalization.background_D11)


def _warp(images_BDHW: Tensor, inverse_B23: Tensor, background_D11: Tensor | None) -> Tensor:
    # Middles of the pixels, of an image from -1 to 1.
    y_H, x_W = (
        torch.linspace(-1, 1, count, device=images_BDHW.device) * (count - 1) / count
        for count in images_BDHW.shape[-2:]
    )
    grid_BHW2 = sampling_grid(inverse_B23, y_H, x_W)
    if background_D11 is None:
        return F.grid_sample(images_BDHW, grid_BHW2, padding_mode="reflection", align_corners=False)
    sampled_BDHW = F.grid_sample(images_BDHW - background_D11, grid_BHW2, padding_mode="zeros", align_corners=False)
    return sampled_BDHW.add_(background_D11)


def recolor(images_BDHW: Tensor, draws: dict[str, Tensor], s: float) -> Tensor:
    """Return float32 images in [0, 1] in other colours, of strength ``s``.

    Scale brightness by b, then contrast by c about the mean grey, then saturation by t about each pixel's grey.

    With g the grey of a pixel x and G its mean over the image: x -> t*c*b*x + (1-t)*c*b*g + (1-c)*b*G.
    """
    drawn_B = (draws["color"] < min(1.0, 2 * s)).float()
    brightness_B, contrast_B, saturation_B = (
        1 + _within(draws[name], MAX_COLOR_CHANGE * s) * drawn_B for name in ("brightness", "contrast", "saturation")
    )
    if images_BDHW.shape[1] == 3:
        red_BHW, green_BHW, blue_BHW = images_BDHW.unbind(1)
        grey_BHW = red_BHW * _GREY_WEIGHTS[0]
        grey_BHW.add_(green_BHW, alpha=_GREY_WEIGHTS[1]).add_(blue_BHW, alpha=_GREY_WEIGHTS[2])
    else:
        grey_BHW = images_BDHW.mean(1)
    gain_B = contrast_B * brightness_B
    shared_BHW = grey_BHW * ((1 - saturation_B) * gain_B)[:, None, None]
    shared_BHW += ((1 - contrast_B) * brightness_B * grey_BHW.mean((1, 2)))[:, None, None]
    recolored_BDHW = torch.addcmul(shared_BHW[:, None], images_BDHW, (saturation_B * gain_B)[:, None, None, None])
    return recolored_BDHW.clamp_(0, 1)


def _erase_(images_BDHW: Tensor, draws: dict[str, Tensor], s: float) -> Tensor:
    """Set one rectangle per drawn image to 0, the mean colour of normalised images, in place."""
    height, width = images_BDHW.shape[-2:]
    drawn_B = (draws["erasing"] < ERASING_PROBABILITY * s).float()
    side_B = torch.sqrt(draws["area"] * MAX_ERASED_AREA * s) * drawn_B
    stretch_B = torch.exp(_within(draws["aspect"], math.log(MAX_ASPECT) / 2))
    outside = []
    for count, share_B, u_B in (
        (height, (side_B * stretch_B).clamp(max=1), draws["top"]),
        (width, (side_B / stretch_B).clamp(max=1), draws["left"]),
    ):
        first_B = u_B * (1 - share_B)
        middle = (torch.arange(count, device=images_BDHW.device) + 0.5) / count
        outside.append((middle < first_B[:, None]) | (middle >= (first_B + share_B)[:, None]))
    keep_BHW = outside[0][:, :, None] | outside[1][:, None, :]
    return images_BDHW.mul_(keep_BHW[:, None])

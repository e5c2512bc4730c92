"""The image operations of AutoAugment and its successors, on batches of uint8 images.

Every image has an operation and a magnitude of its own; one computation serves all images of an operation, and one
warp all those that move pixels. Results are those of torchvision's operations without interpolation.

Shapes: B batch, D channels, H x W pixels.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_sweep.augmentation.warp_grids import sampling_grid

OPERATIONS = (
    *("identity", "brightness", "color", "contrast", "rotate", "sharpness"),
    *("shear_x", "shear_y", "translate_x", "translate_y"),
    *("posterize", "solarize", "autocontrast", "equalize", "invert", "solarize_add"),
)
"""Names; an operation is given by its index among them. Magnitudes: degrees of `rotate`, tangent of a shear, pixels of
a shift, factor of `brightness`, `color` (saturation), `contrast` and `sharpness`, bits that `posterize` keeps, the
lowest level that `solarize` inverts, what `solarize_add` adds to dark levels. The others have none."""
IDENTITY = OPERATIONS.index("identity")

GEOMETRIC = frozenset({"rotate", "shear_x", "shear_y", "translate_x", "translate_y"})
# `solarize_add` leaves levels from here on as they are.
_BRIGHT = 128
# ITU-R BT.601, as torchvision rounds it.
_GREY_WEIGHTS = (0.2989, 0.587, 0.114)


def apply_operations(
    pixels_BDHW: Tensor, operations_B: Tensor, magnitudes_B: Tensor, fill: list[float] | None = None
) -> Tensor:
    """Return ``pixels_BDHW`` with one operation done to each image.

    Args:
        pixels_BDHW: uint8.
        operations_B: int64, indices in `OPERATIONS`; on the CPU.
        magnitudes_B: float64, on the CPU.
        fill: level 0 to 255 of each channel where an operation uncovers pixels; black when None.
    """
    groups_B = _GROUP_O[operations_B]
    order_B = groups_B.argsort(stable=True)
    changed_BDHW = pixels_BDHW.index_select(0, order_B.to(pixels_BDHW.device))
    operations_B, magnitudes_B = operations_B[order_B], magnitudes_B[order_B]
    end = 0
    for group, count in enumerate(groups_B.bincount(minlength=len(_GROUPS)).tolist()):
        part, end = slice(end, end + count), end + count
        if count and group == _WARPED:
            inverse_B23 = _inverse_affine(operations_B[part], magnitudes_B[part], pixels_BDHW.shape[-1])
            changed_BDHW[part] = _whole(_warp(changed_BDHW[part], inverse_B23, fill))
        elif count and group != _UNCHANGED:
            magnitudes_B111 = magnitudes_B[part].to(pixels_BDHW.device)[:, None, None, None]
            changed_BDHW[part] = _whole(_RECOLORED[_GROUPS[group]](changed_BDHW[part], magnitudes_B111))
    return changed_BDHW.index_select(0, order_B.argsort().to(pixels_BDHW.device))


def _whole(levels_BDHW: Tensor) -> Tensor:
    """Cut levels off to whole ones; by way of int16, as straight to uint8 takes four times as long."""
    return levels_BDHW.to(torch.int16) if levels_BDHW.is_floating_point() else levels_BDHW


def _inverse_affine(operations_B: Tensor, magnitudes_B: Tensor, size: int) -> Tensor:
    """Return (B, 2, 3) matrices from output to input positions in pixels about the middle of the image."""
    is_a = {name: operations_B == OPERATIONS.index(name) for name in GEOMETRIC}
    angle_B = torch.deg2rad(magnitudes_B.where(is_a["rotate"], 0.0))
    shear_x_B, shear_y_B = (magnitudes_B.where(is_a[name], 0.0) for name in ("shear_x", "shear_y"))
    # Shears leave the upper left corner where it is, as published; shifts are by whole pixels.
    x_B = shear_x_B * (size / 2) - magnitudes_B.trunc().where(is_a["translate_x"], 0.0)
    y_B = shear_y_B * (size / 2) - magnitudes_B.trunc().where(is_a["translate_y"], 0.0)
    cos_B, sin_B = torch.cos(angle_B), torch.sin(angle_B)
    rows = [torch.stack([cos_B, shear_x_B - sin_B, x_B], 1), torch.stack([shear_y_B + sin_B, cos_B, y_B], 1)]
    return torch.stack(rows, 1)


def _warp(images_BDHW: Tensor, inverse_B23: Tensor, fill: list[float] | None) -> Tensor:
    """Read the nearest pixel, or ``fill`` outside. Images are square."""
    size, device = images_BDHW.shape[-1], images_BDHW.device
    x_W = torch.linspace((1 - size) / 2, (size - 1) / 2, size, device=device)
    # grid_sample has the image from -1 to 1.
    grid_BHW2 = sampling_grid(inverse_B23.float().to(device) / (size / 2), x_W, x_W)
    fill_D11 = torch.tensor(fill or [0.0] * images_BDHW.shape[1], device=device)[:, None, None]
    warped_BDHW = F.grid_sample(images_BDHW - fill_D11, grid_BHW2, mode="nearest", align_corners=False)
    return warped_BDHW.add_(fill_D11).round_()


def _grey(images_BDHW: Tensor) -> Tensor:
    """Return (B, 1, H, W) whole levels as float32."""
    if images_BDHW.shape[1] == 1:
        return images_BDHW.float()
    red, green, blue = torch.split(images_BDHW, 1, 1)
    return red.mul(_GREY_WEIGHTS[0]).add_(green, alpha=_GREY_WEIGHTS[1]).add_(blue, alpha=_GREY_WEIGHTS[2]).floor_()


def _blend(images_BDHW: Tensor, others_BDHW: Tensor, factors_B111: Tensor) -> Tensor:
    """Go from ``others_BDHW`` (factor 0) to ``images_BDHW`` (factor 1) and beyond."""
    # Rounded as torchvision rounds it: half a unit in the last place more or less moves whole levels.
    scaled_BDHW = images_BDHW * factors_B111.float()
    return torch.addcmul(scaled_BDHW, others_BDHW, (1 - factors_B111).float()).clamp_(0, 255)


def _brightness(images_BDHW: Tensor, factors_B111: Tensor) -> Tensor:
    return (images_BDHW * factors_B111.float()).clamp_(0, 255)


def _color(images_BDHW: Tensor, factors_B111: Tensor) -> Tensor:
    if images_BDHW.shape[1] == 1:
        return images_BDHW
    return _blend(images_BDHW, _grey(images_BDHW), factors_B111)


def _contrast(images_BDHW: Tensor, factors_B111: Tensor) -> Tensor:
    return _blend(images_BDHW, _grey(images_BDHW).mean((1, 2, 3), keepdim=True), factors_B111)


def _sharpness(images_BDHW: Tensor, factors_B111: Tensor) -> Tensor:
    """The other image is smoothed by a kernel of 3 x 3 with 5 in the middle and 1 around; the rim stays."""
    levels_BDHW = images_BDHW.float()
    inside = levels_BDHW[..., 1:-1, 1:-1]
    rows = levels_BDHW[..., :-2, :] + levels_BDHW[..., 1:-1, :] + levels_BDHW[..., 2:, :]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = sums.add_(inside, alpha=4).div_(13).round_()
    inside.addcmul_(smooth.sub_(inside), (1 - factors_B111).float())
    return levels_BDHW.clamp_(0, 255)


def _posterize(images_BDHW: Tensor, bits_B111: Tensor) -> Tensor:
    return images_BDHW & (256 - 2 ** (8 - bits_B111.round())).to(torch.uint8)


def _solarize(images_BDHW: Tensor, lowest_B111: Tensor) -> Tensor:
    # torch.where is slow on bytes.
    return images_BDHW ^ (images_BDHW.float() >= lowest_B111.float()).to(torch.uint8).mul_(255)


def _solarize_add(images_BDHW: Tensor, added_B111: Tensor) -> Tensor:
    return images_BDHW + (images_BDHW < _BRIGHT) * added_B111.to(torch.uint8)


def _invert(images_BDHW: Tensor, _: Tensor) -> Tensor:
    return 255 - images_BDHW


def _autocontrast(images_BDHW: Tensor, _: Tensor) -> Tensor:
    # Loaded here: the strength family, which most studies use, needs no torchvision.
    from torchvision.transforms.v2 import functional

    changed_BDHW: Tensor = functional.autocontrast(images_BDHW)
    return changed_BDHW


def _equalize(images_BDHW: Tensor, _: Tensor) -> Tensor:
    from torchvision.transforms.v2 import functional

    changed_BDHW: Tensor = functional.equalize(images_BDHW)
    return changed_BDHW


_RECOLORED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": _brightness,
    "color": _color,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "invert": _invert,
    "solarize_add": _solarize_add,
}
# Operations of a group are computed together.
_GROUPS = ("identity", "geometric", *_RECOLORED)
_UNCHANGED, _WARPED = 0, 1
_GROUP_O = torch.tensor([_GROUPS.index("geometric" if name in GEOMETRIC else name) for name in OPERATIONS])

"""Sheets of images, with attention maps drawn over them.

Shapes: N images, D channels, H x W pixels, S x S pixels of a cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from kd_sweep.attention.regions import attention_regions

CELL = 112
"""Height and width of an image on a sheet, in pixels."""
MAP_SHARE = 0.5
"""Share of the map in a pixel's colour."""
# Nine of viridis, between which colours are mixed: lightness rises with attention, also without red or green.
_COLORS = torch.tensor(
    [
        *([68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140]),
        *([40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37]),
    ]
)
_GAP = 8
_LABEL_WIDTH = 120
_LINE = 14
_TEXT_SIZE = 11
_HEADING_SIZE = 13
_SMALLEST_TEXT = 7
_INK = (20, 20, 20)
_PAPER = (255, 255, 255)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Cell:
    """An image and the lines below it."""

    pixels: Pixels
    """uint8 (S, S, 3)."""
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """Cells side by side, with lines to their left."""

    label: tuple[str, ...]
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Block:
    """Rows under a heading."""

    heading: str
    rows: tuple[Row, ...]


def cell_pixels(image_DHW: Tensor, size: int = CELL) -> Pixels:
    """Return an image as a cell's pixels, enlarged without smoothing.

    Args:
        image_DHW: uint8; grey or RGB.
        size: S, of the cell.
    """
    image_3HW = image_DHW.expand(3, -1, -1).float()
    smooth = {"mode": "bilinear", "antialias": True} if image_DHW.shape[-1] > size else {"mode": "nearest-exact"}
    cell_3SS = F.interpolate(image_3HW[None], (size, size), **smooth)[0]
    return _as_pixels(cell_3SS)


def overlay(image_DHW: Tensor, map_HW: Tensor, threshold: float, size: int = CELL) -> Pixels:
    """Return an image with a map over it, dark to light, and the border of the region above ``threshold`` in white.

    Args:
        image_DHW: uint8; grey or RGB.
        map_HW: in [0, 1].
        threshold: of the region.
        size: S, of the cell.
    """
    # The colours of the image would be taken for the map's.
    grey_SS = torch.from_numpy(cell_pixels(image_DHW, size)).float().mean(2)
    map_SS = F.interpolate(map_HW[None, None], (size, size), mode="bilinear", align_corners=False)[0, 0]
    mixed_3SS = (1 - MAP_SHARE) * grey_SS + MAP_SHARE * _colored(map_SS)
    region_HW = attention_regions(map_HW, threshold).float()
    region_SS = F.interpolate(region_HW[None, None], (size, size), mode="nearest-exact")[0, 0]
    mixed_3SS[:, _border(region_SS)] = 255
    return _as_pixels(mixed_3SS)


def map_scale() -> Pixels:
    """Return the colours of maps from 0, left, to 1, uint8 (1, 256, 3), not mixed with an image."""
    return _as_pixels(_colored(torch.linspace(0, 1, 256)[None]))


def sheet(blocks: Sequence[Block]) -> Image.Image:
    """Return a sheet of all blocks, one below the other, with a white margin."""
    num_columns = max(len(row.cells) for block in blocks for row in block.rows)
    longest_heading = max(round(_font(_HEADING_SIZE).getlength(block.heading)) for block in blocks)
    width = max(_LABEL_WIDTH + num_columns * (CELL + _GAP), _GAP + longest_heading) + _GAP
    height = _GAP + sum(_block_height(block) for block in blocks)
    image = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(image)
    top = _GAP
    for block in blocks:
        if block.heading:
            draw.text((_GAP, top + 2), block.heading, _INK, _font(_HEADING_SIZE))
        row_top = top + _heading_height(block)
        for row in block.rows:
            _draw_row(image, draw, row, row_top)
            row_top += _row_height(row)
        top += _block_height(block)
    return image


def _draw_row(image: Image.Image, draw: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    for number, line in enumerate(row.label):
        draw.text((_GAP, top + number * _LINE), line, _INK, _font(_TEXT_SIZE))
    for column, cell in enumerate(row.cells):
        left = _LABEL_WIDTH + column * (CELL + _GAP)
        image.paste(Image.fromarray(cell.pixels), (left, top))
        for number, line in enumerate(cell.lines):
            draw.text((left, top + CELL + 1 + number * _LINE), line, _INK, _fitting_font(draw, line, CELL))


def _block_height(block: Block) -> int:
    return _heading_height(block) + sum(_row_height(row) for row in block.rows) + _GAP


def _heading_height(block: Block) -> int:
    return 2 * _LINE if block.heading else 0


def _row_height(row: Row) -> int:
    lines = max((len(cell.lines) for cell in row.cells), default=0)
    return CELL + lines * _LINE + _GAP


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _fitting_font(draw: ImageDraw.ImageDraw, line: str, width: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return the font of ``line``, smaller than usual where it would run into its neighbour."""
    size = _TEXT_SIZE
    while size > _SMALLEST_TEXT and draw.textlength(line, _font(size)) > width:
        size -= 1
    return _font(size)


def _colored(map_SS: Tensor) -> Tensor:
    """Return a map in [0, 1] as colours, float32 (3, S, S), 0 to 255."""
    level_SS = map_SS.clamp(0, 1) * (len(_COLORS) - 1)
    below_SS = level_SS.long().clamp(max=len(_COLORS) - 2)
    share_SS1 = (level_SS - below_SS)[..., None]
    colors_SS3 = (1 - share_SS1) * _COLORS[below_SS] + share_SS1 * _COLORS[below_SS + 1]
    return colors_SS3.permute(2, 0, 1)


def _border(region_SS: Tensor) -> Tensor:
    """Return the pixels of a region that touch pixels outside it, bool (S, S)."""
    # Outside the image counts as inside the region, so that a region at the edge is open there.
    outside_SS = F.pad(1 - region_SS, (1, 1, 1, 1))[None]
    near_SS = F.max_pool2d(outside_SS, 3, stride=1)[0]
    return (region_SS > 0) & (near_SS > 0)


def _as_pixels(image_3SS: Tensor) -> Pixels:
    pixels: Pixels = image_3SS.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    return pixels

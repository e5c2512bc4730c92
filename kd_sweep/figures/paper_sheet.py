"""Sheets of images for paper: PDF and SVG by matplotlib, with vector text, and the scale of maps as a bar."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kd_sweep.figures.image_sheet import Block, Row, map_scale
from kd_sweep.figures.plots.looks import MM_PER_INCH, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAPER_FORMATS = ("pdf", "svg")
CELL_MM = 20.0
"""Height and width of an image, in mm as are all lengths here."""
_GAP, _LABELS, _LINE, _HEADING = 1.5, 24.0, 2.8, 6.0
_TEXT_PT, _HEADING_PT = 5.5, 6.5
_BAR_LENGTH, _BAR_HEIGHT = 40.0, 2.5


def cell_pixels_at(dpi: int) -> int:
    """Return how many pixels high and wide an image is on paper."""
    return round(CELL_MM / MM_PER_INCH * dpi)


def paper_sheet(blocks: Sequence[Block], format: str, threshold: float | None = None) -> bytes:
    """Return a sheet of all blocks, one below the other, as a file; the same blocks give the same bytes.

    Args:
        blocks: what is shown, with cells of `cell_pixels_at` pixels.
        format: one of `PAPER_FORMATS`.
        threshold: of the regions of attention maps, whose scale is drawn below; None where there are no maps.

    Raises:
        UserError: matplotlib is not installed. One line.
    """
    from kd_sweep.figures.plots.drawn_figures import METADATA, require_matplotlib  # all figures, and DuckDB

    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = _width(blocks), sheet_height(blocks, threshold)
    content = io.BytesIO()
    with style():
        figure = Figure(figsize=(width / MM_PER_INCH, height / MM_PER_INCH))
        FigureCanvasAgg(figure)
        draw_sheet(blocks, threshold, figure.add_axes((0.0, 0.0, 1.0, 1.0)))
        figure.savefig(content, format=format, metadata=METADATA[format])
    return content.getvalue()


def draw_sheet(blocks: Sequence[Block], threshold: float | None, axes: "Axes") -> None:
    """Draw a sheet into axes, as `paper_sheet`, with a millimetre of it for each unit, both ways alike."""
    width = _width(blocks)
    axes.axis("off")
    top = 0.0
    for block in blocks:
        _draw_block(axes, block, top, width)
        top += _block_height(block)
    if threshold is not None:
        _draw_scale(axes, top + _GAP, threshold)
    axes.set_xlim(0.0, width)
    axes.set_ylim(sheet_height(blocks, threshold), 0.0)
    axes.set_aspect("equal")


def sheet_height(blocks: Sequence[Block], threshold: float | None) -> float:
    """Return the height of a sheet on paper, in mm."""
    return sum(_block_height(block) for block in blocks) + (0.0 if threshold is None else 4 * _GAP + 3 * _LINE)


def _width(blocks: Sequence[Block]) -> float:
    columns = max(len(row.cells) for block in blocks for row in block.rows)
    return _LABELS + columns * (CELL_MM + _GAP) + _GAP


def _block_height(block: Block) -> float:
    return (_HEADING if block.heading else _GAP) + sum(_row_height(row) for row in block.rows)


def _row_height(row: Row) -> float:
    return CELL_MM + _GAP + _LINE * max((len(cell.lines) for cell in row.cells), default=0)


def _draw_block(axes: "Axes", block: Block, top: float, width: float) -> None:
    if block.heading:
        _write(axes, block.heading, _GAP, top + _HEADING - 2.0, _HEADING_PT, width - 2 * _GAP)
    top += _HEADING if block.heading else _GAP
    for row in block.rows:
        for number, line in enumerate(row.label, 1):
            _write(axes, line, _GAP, top + number * _LINE, _TEXT_PT, _LABELS - 2 * _GAP)
        for column, cell in enumerate(row.cells):
            left = _LABELS + column * (CELL_MM + _GAP)
            extent = (left, left + CELL_MM, top + CELL_MM, top)
            axes.imshow(cell.pixels, extent=extent, aspect="auto", interpolation="none")
            for number, line in enumerate(cell.lines, 1):
                _write(axes, line, left, top + CELL_MM + number * _LINE - 0.4, _TEXT_PT, CELL_MM)
        top += _row_height(row)


def _draw_scale(axes: "Axes", top: float, threshold: float) -> None:
    """Draw the colours of maps from 0 to 1, and where the threshold of regions is."""
    right = _LABELS + _BAR_LENGTH
    extent = (_LABELS, right, top + _BAR_HEIGHT, top)
    axes.imshow(map_scale(), extent=extent, aspect="auto", interpolation="none")
    _write(axes, "attention", _GAP, top + _BAR_HEIGHT - 0.4, _TEXT_PT, _LABELS - 2 * _GAP)
    for value, text in ((0.0, "0"), (threshold, f"{threshold:g}, border of the region"), (1.0, "1")):
        at = _LABELS + value * _BAR_LENGTH
        axes.plot([at, at], [top, top + _BAR_HEIGHT + 0.8], color="black", linewidth=0.5, clip_on=False)
        line = top + _BAR_HEIGHT + (2 if value == threshold else 1) * _LINE + 0.8
        axes.text(at, line, text, fontsize=_TEXT_PT, ha="center", va="baseline", parse_math=False)


def _write(axes: "Axes", text: str, left: float, base: float, size: float, room: float) -> None:
    """Write a line, smaller than usual where it would run into its neighbour."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family="DejaVu Sans", size=size)
    width = text_to_path.get_text_width_height_descent(text, font, ismath=False)[0] / 72 * MM_PER_INCH
    axes.text(left, base, text, fontsize=size * min(1.0, room / max(width, 1e-9)), va="baseline", parse_math=False)

"""The grid of a table in text: cells in columns of one width, under their headers.

rich draws the same for one in sixty of the cost, which for a thousand rows is more than that of the query.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

from rich.cells import cell_len

from kd_sweep.tables.rendering.column_widths import GAP, cell_width


class GridStyle(NamedTuple):
    """What stands around cells."""

    between: str
    """Two columns."""
    before: str = ""
    """A line of cells."""
    after: str = ""


PLAIN = GridStyle(" " * GAP)
FRAMED = GridStyle(" | ", "| ", " |")


def grid(
    columns: Sequence[Sequence[str]],
    headers: Sequence[str],
    numbers: Sequence[bool],
    rule: str | None = None,
) -> Iterator[tuple[str, str | None]]:
    """Yield the parts of a table from top to bottom: lines, and rich's name of their style.

    Args:
        columns: cells of each, which may have several lines; columns beyond the headers are left out.
        headers: of the columns from the left, which may have several lines.
        numbers: whether a column is aligned to the right.
        rule: the character of the line below the headers; None draws frames.
    """
    widths = [max(map(cell_width, (header, *cells))) for header, cells in zip(headers, columns, strict=False)]
    style = FRAMED if rule is None else PLAIN
    frame = [f"+-{'-+-'.join('-' * width for width in widths)}-+"] if rule is None else []
    head = _lines(headers, widths, numbers, style, at_bottom=True)
    below = frame or [(rule or "") * (sum(widths) + GAP * (len(widths) - 1))]
    rows = zip(*columns[: len(headers)], strict=True)
    body = [line for row in rows for line in _lines(row, widths, numbers, style)]
    if frame:
        yield frame[0], None
    yield "\n".join(head), "bold"
    yield "\n".join([*below, *body, *frame]), None


def _lines(
    row: Sequence[str], widths: Sequence[int], numbers: Sequence[bool], style: GridStyle, *, at_bottom: bool = False
) -> Iterator[str]:
    """Yield the lines of a row: as many as its highest cell has, at whose top or bottom the others begin or end."""
    parts: Iterable[Sequence[str]] = (row,)
    if any("\n" in cell for cell in row):
        cells = [cell.split("\n") for cell in row]
        if at_bottom:
            highest = max(map(len, cells))
            cells = [[""] * (highest - len(lines)) + lines for lines in cells]
        parts = zip_longest(*cells, fillvalue="")
    for line in parts:
        padded = map(_padded, line, widths, numbers)
        yield f"{style.before}{style.between.join(padded)}{style.after}"


def _padded(text: str, width: int, is_number: bool) -> str:
    space = " " * (width - cell_len(text))
    return space + text if is_number else text + space

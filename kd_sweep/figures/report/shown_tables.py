"""Tables as the report shows them: text in cells, headings in words, no more rows than a reader looks at."""

import math
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from kd_sweep.tables.rendering.value_text import cells, escaped

_MOST_ITEMS = 10
"""Of a list in a cell."""
_INTERVAL = re.compile(r"[^ \[]* ?\[[^\]]*\]")
"""An interval, alone or behind its mean."""
_DECIMALS = 12
_NARROWEST = 12
"""Characters of a column whose cells or heading are broken into lines."""


@dataclass(frozen=True)
class Heading:
    """Of a column."""

    text: str
    is_number: bool = False
    """Whether cells are aligned at their right."""


@dataclass(frozen=True)
class ShownTable:
    """A table of text."""

    caption: str
    head: Sequence[Heading]
    rows: Sequence[Sequence[str]]
    more: str = ""
    """A sentence about rows that are left out."""
    num_hidden: int = 0
    """So many."""


def shown_table(
    table: pa.Table, caption: str, labels: Mapping[str, str] | None = None, most: int | None = None, more: str = ""
) -> ShownTable:
    """Return an Arrow table as the report shows it.

    Args:
        table: its columns are shown in their order.
        caption: what it is.
        labels: headings by column; the others are the columns' names.
        most: rows; all when None.
        more: what to do to see the others.
    """
    kept = table if most is None else table.slice(0, most)
    head = [Heading((labels or {}).get(field.name, field.name), _is_number(field.type)) for field in table.schema]
    columns = [cells([_short(value) for value in column]) for column in kept.to_pydict().values()]
    hidden = table.num_rows - kept.num_rows
    left_out = f"{hidden:,} more row{'s' * (hidden > 1)}: {more}" if hidden else ""
    return ShownTable(caption, head, list(zip(*columns, strict=True)), left_out, hidden)


def without_dust(values: Sequence[Any]) -> list[Any]:
    """Return values with floats to twelve decimals: a mean of differences of shares that is nothing is 0, not 1e-17."""
    return [round(value, _DECIMALS) if isinstance(value, float) else value for value in values]


def interval_cells(
    lows: Sequence[float | None], highs: Sequence[float | None], others: Sequence[float | None] = ()
) -> list[str]:
    """Return intervals as text, `[-0.01, 0.02]`, all in one notation; a dash where there is none.

    Args:
        lows: lower ends.
        highs: upper ends.
        others: numbers that the notation is to fit too.
    """
    texts = cells([*lows, *highs, *others])[: 2 * len(lows)]
    pairs = zip(lows, highs, texts[: len(lows)], texts[len(lows) :], strict=True)
    return ["-" if low is None or high is None else f"[{first}, {second}]" for low, high, first, second in pairs]


def column_widths(table: ShownTable, room: int, gap: int = 2) -> list[int] | None:
    """Return how many characters each column has so that a row fits: text is broken first, then means from intervals.

    Args:
        table: whose headings are broken too, those of numbers as well.
        room: characters of a row.
        gap: of them between two columns.

    Returns:
        None where no widths fit.
    """
    widths, lowest = [], []
    for index, head in enumerate(table.head):
        column = [row[index] for row in table.rows]
        longest = max(map(len, column), default=0)
        widths.append(max(longest, *map(len, textwrap.wrap(head.text, max(longest, _NARROWEST)) or [""]), 1))
        whole = max((len(part) for cell in column for part in cell_lines(cell, 1)), default=1)
        word = max(map(len, head.text.split()), default=1)
        lowest.append(max(whole, word) if head.is_number else _NARROWEST)
    for is_number in (False, True):
        own = [index for index, head in enumerate(table.head) if head.is_number == is_number]
        while sum(widths) + gap * (len(widths) - 1) > room:
            wide = [index for index in own if widths[index] > lowest[index]]
            if not wide:
                break
            widths[max(wide, key=widths.__getitem__)] -= 1
    return widths if sum(widths) + gap * (len(widths) - 1) <= room else None


def cell_lines(cell: str, width: int) -> list[str]:
    """Return a cell in lines of so many characters; a longer word is broken, an interval never is."""
    if _INTERVAL.fullmatch(cell) and len(cell) > width:
        mean, _, interval = cell.partition(" [")
        return [mean, f"[{interval}"] if interval else [cell]
    return textwrap.wrap(cell, width, break_long_words=width > 1) or [""]


def facts(rows: Iterable[tuple[str, Any]]) -> list[tuple[str, str]]:
    """Return names and values as text, without those whose value is None or empty."""
    return [(name, escaped(str(value))) for name, value in rows if value not in (None, "")]


def _short(value: Any) -> Any:
    """Return a value; of a list its first items as text."""
    if not isinstance(value, list):
        return value
    items = [f"{item:.4g}" if isinstance(item, float) and math.isfinite(item) else str(item) for item in value]
    return ", ".join(items[:_MOST_ITEMS]) + (f", … ({len(items)} in all)" if len(items) > _MOST_ITEMS else "")


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))

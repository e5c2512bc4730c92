"""Tables as the report shows them: text in cells, headings in words, no more rows than a reader looks at."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from kd_sweep.tables.rendering.value_text import cells, escaped

_MOST_ITEMS = 10
"""Of a list in a cell."""


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


def interval_cells(lows: Sequence[float | None], highs: Sequence[float | None]) -> list[str]:
    """Return intervals as text, `[-0.01, 0.02]`, all in one notation; a dash where there is none."""
    texts = cells([*lows, *highs])
    pairs = zip(lows, highs, texts[: len(lows)], texts[len(lows) :], strict=True)
    return ["-" if low is None or high is None else f"[{first}, {second}]" for low, high, first, second in pairs]


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

"""A table for people and programs: rich text, CSV, JSON, Parquet."""

import datetime
import decimal
import io
import json
import math
import re
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from kd_sweep.errors import QueryError, alternatives

FORMATS = ("table", "csv", "json", "parquet")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]+")
_UNLIMITED = 1_000_000
_FOLDED_HEADER = 7
_FOLDED_TEXT = 16


def render(table: pa.Table, format: str = "table", out: BinaryIO | None = None) -> None:
    """Write a table.

    Args:
        table: what to write.
        format: ``table`` for people (on a terminal it fits the width; piped it is plain and complete), ``csv``,
            ``json`` (a list of objects; missing is null, times are ISO 8601) or ``parquet``.
        out: a binary stream; standard output when None.

    Raises:
        QueryError: an unknown format, or Parquet to a terminal.
    """
    if format not in FORMATS:
        raise QueryError(f"format: {format!r} is not a format; {alternatives(format, FORMATS)}")
    stream = sys.stdout.buffer if out is None else out
    terminal = stream.isatty()
    if format == "parquet" and terminal:
        raise QueryError("format: parquet is binary and does not go to a terminal; write it to a file")
    content = {"table": _text, "csv": _csv, "json": _json, "parquet": _parquet}[format](table, terminal)
    stream.write(content)
    stream.flush()


def _text(table: pa.Table, terminal: bool) -> bytes:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    text = io.StringIO()
    columns = [cells(column.to_pylist()) for column in table.columns]
    narrowest = [_narrowest(field, values) for field, values in zip(table.schema, columns, strict=True)]
    width = Console().width
    if not terminal or sum(narrowest) + len(narrowest) > width:
        width = _UNLIMITED  # the terminal itself wraps a line that folding would only make unreadable
    roomy = sum(narrowest) + 3 * len(narrowest) <= width
    console = Console(
        file=text, force_terminal=terminal, color_system="auto" if terminal else None, highlight=False, width=width
    )
    grid = Table(
        box=box.SIMPLE_HEAD if terminal else box.ASCII2,
        show_edge=not terminal,
        padding=(0, 1 if roomy else 0),
        pad_edge=not terminal,
        header_style="bold",
    )
    broken = (
        width != _UNLIMITED
        and sum(max(len(f.name), n) + 3 for f, n in zip(table.schema, narrowest, strict=True)) > width
    )
    for field, shortest in zip(table.schema, narrowest, strict=True):
        justify: Literal["left", "right"] = "right" if _is_number(field) else "left"
        header = _at_underscores(field.name, shortest) if broken else field.name
        grid.add_column(Text(header), justify=justify, overflow="fold", no_wrap=width == _UNLIMITED, min_width=shortest)
    for row in zip(*columns, strict=True):
        grid.add_row(*(Text(value) for value in row))
    console.print(grid)
    if table.num_rows == 0:
        console.print("(no rows)")
    # Piped lines end where their text ends.
    lines = text.getvalue().splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines).encode()


def _is_number(field: pa.Field) -> bool:
    return bool(pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_decimal(field.type))


def _at_underscores(name: str, width: int) -> str:
    """Break a header behind underscores, into lines no longer than ``width`` where its words allow that."""
    words = name.split("_")
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) + 2 <= width:
            lines[-1] += f"_{word}"
        else:
            lines[-1] += "_"
            lines.append(word)
    return "\n".join(lines)


def _narrowest(field: pa.Field, values: list[str]) -> int:
    """Return how narrow a column may get: headers and long text fold; half a number would read as another one."""
    longest = max(map(len, values), default=0)
    return max(longest if _is_number(field) else min(longest, _FOLDED_TEXT), min(len(field.name), _FOLDED_HEADER))


def cells(values: Sequence[Any]) -> list[str]:
    """Return a column as a table for people shows it: floats with equal decimals, at most four; null as a dash."""
    floats = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    decimals = next((n for n in (1, 2, 3) if all(math.isclose(round(v, n), v, abs_tol=1e-9) for v in floats)), 4)
    return [_number(value, decimals) if isinstance(value, float) else _cell(value) for value in values]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return _CONTROL.sub(" ", str(value))


def _number(value: float, decimals: int) -> str:
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{value:+}"
    size = abs(value)
    if value == 0 or 1e-3 <= size < 100:
        return f"{value:.{decimals}f}"
    return f"{value:.{min(decimals, 1)}f}" if 100 <= size < 1e7 else f"{value:.3e}"


def _csv(table: pa.Table, _: bool) -> bytes:
    columns = {}
    for field in table.schema:
        column = table.column(field.name)
        if pa.types.is_timestamp(field.type):
            column = pc.strftime(
                column.cast(pa.timestamp("us", field.type.tz)), "%Y-%m-%dT%H:%M:%S" + _zone(field.type)
            )
        elif pa.types.is_nested(field.type) or pa.types.is_binary(field.type):
            column = pa.array([None if v is None else json.dumps(plain(v)) for v in column.to_pylist()], pa.string())
        columns[field.name] = column
    sink = io.BytesIO()
    pyarrow.csv.write_csv(pa.table(columns), sink, pyarrow.csv.WriteOptions(quoting_style="needed"))
    return sink.getvalue()


def _zone(kind: pa.DataType) -> str:
    return "%z" if kind.tz else ""


def _json(table: pa.Table, _: bool) -> bytes:
    rows = [json.dumps(plain(row), ensure_ascii=False, allow_nan=False) for row in table.to_pylist()]
    return ("[\n  " + ",\n  ".join(rows) + "\n]\n" if rows else "[]\n").encode()


def plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN and infinity are null, times ISO 8601, whole decimals integers."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _parquet(table: pa.Table, _: bool) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()

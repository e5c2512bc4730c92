"""The output formats of a table: text for people, CSV, JSON, Parquet."""

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from kd_sweep.errors import QueryError, StorageError, alternatives
from kd_sweep.storage.filesystem_errors import reason_of
from kd_sweep.tables.rendering.column_widths import GAP, fit
from kd_sweep.tables.rendering.text_grid import grid
from kd_sweep.tables.rendering.value_text import cells, escaped, json_text

FORMATS = ("table", "csv", "json", "parquet")
_UNLIMITED = 1_000_000
_NARROWEST = 20
"""A terminal that reports a smaller width is treated as this wide."""


class Screen:
    """Standard output for tables: a binary stream, with its encoding and width.

    Args:
        stream: where bytes go.
        encoding: of text for people; what it lacks is shown as a question mark.
        wide: on a terminal too, every column of a table in one line, however long.
    """

    def __init__(self, stream: BinaryIO, encoding: str = "utf-8", *, wide: bool = False) -> None:
        self.stream = stream
        self.encoding = encoding
        self.wide = wide

    @property
    def is_unicode(self) -> bool:
        """Whether every character can be shown."""
        return self.encoding.lower().replace("-", "").startswith("utf")

    @property
    def width(self) -> int | None:
        """Columns of characters; None where lines may be of any length."""
        return max(Console().width, _NARROWEST) if self.isatty() and not self.wide else None

    def isatty(self) -> bool:
        """Whether a person sees it at once."""
        return self.stream.isatty()

    def write(self, text: bytes) -> None:
        """Write UTF-8 text in the encoding of the stream; on a terminal, lines are broken between words."""
        if (width := self.width) is not None:
            lines = (_broken(line, width) for line in text.decode().split("\n"))
            text = "\n".join(lines).encode()
        self.put(text if self.is_unicode else text.decode().encode(self.encoding, "replace"))

    def put(self, content: bytes) -> None:
        """Write bytes as they are; `StorageError` if that fails, as on a full disk."""
        with _failures():
            self.stream.write(content)

    def flush(self) -> None:
        """Flush the stream; errors as `put`."""
        with _failures():
            self.stream.flush()


def render(
    table: pa.Table,
    format: str = "table",
    out: BinaryIO | Screen | None = None,
    *,
    more: str = "--wide or --format csv",
) -> None:
    """Write a table.

    Args:
        table: what to write.
        format: ``table`` for people (on a terminal it fits the width: columns that do not fit are left out and named,
            or each row is a block of lines; piped it is plain and complete), ``csv``, ``json`` (a list of objects;
            missing is null, times are ISO 8601) or ``parquet``.
        out: a binary stream; standard output when None.
        more: the options that show the columns that were left out.

    Raises:
        QueryError: an unknown format, or Parquet to a terminal.
    """
    if format not in FORMATS:
        raise QueryError(f"format: {format!r} is not a format; {alternatives(format, FORMATS)}")
    screen = out if isinstance(out, Screen) else Screen(sys.stdout.buffer if out is None else out)
    terminal = screen.isatty()
    if format == "parquet" and terminal:
        raise QueryError("format: parquet is binary and does not go to a terminal; write it to a file")
    if format == "table":
        screen.write(_text(table, screen, more).encode())
    elif format == "csv":
        content = _csv(table)
        screen.put(escaped(content.decode()).encode() if terminal else content)
    elif format == "json":
        screen.put(_json(table))
    else:
        screen.put(_parquet(table))
    screen.flush()


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Raise failed writes in the block as `StorageError`, except for a closed pipe."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"standard output cannot be written: {reason_of(error)}") from None


def _text(table: pa.Table, screen: Screen, more: str) -> str:
    terminal, width, rule = screen.isatty(), screen.width, "─" if screen.is_unicode else "-"
    names = [escaped(name).replace("\n", " ") for name in table.column_names]
    columns = [cells(column.to_pylist()) for column in table.columns]
    headers = fit(names, columns, width)
    text = io.StringIO()
    colours: Literal["auto"] | None = "auto" if terminal else None
    console = Console(file=text, force_terminal=terminal, color_system=colours, highlight=False, width=_UNLIMITED)
    if width is None or headers:
        numbers = [_is_number(field) for field in table.schema]
        for lines, style in grid(columns, headers, numbers, rule if terminal else None):
            console.out(lines, style=style, highlight=False)
    elif table.num_rows:
        console.print(Text("\n").join(_blocks(names, columns, width, rule)), soft_wrap=True)
    if table.num_rows == 0:
        console.print("(no rows)")
    if width is not None:
        for line in _wrapped(_left_out(names, headers, width, more), width):
            console.print(line)
    # Lines end where their text ends.
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def _left_out(names: Sequence[str], headers: Sequence[str], width: int, more: str) -> str:
    """Return what a terminal of this width does not show, and how to see it; nothing where it shows everything."""
    if not headers:
        return f"(each row is a block: {width} characters are too few for a table; {more} shows one)"
    hidden = names[len(headers) :]
    listed = f"{len(hidden)} more column{'s' if len(hidden) > 1 else ''}: {', '.join(hidden)}"
    return f"({listed}; {more} shows everything)" if hidden else ""


def _blocks(names: Sequence[str], columns: Sequence[list[str]], width: int, rule: str) -> Iterator[Text]:
    """Yield the lines of a block for each row: name and value in one line, or the value below where it is longer."""
    indent = min(max(map(cell_len, names)) + GAP, 2 * width // 3)
    for number, row in enumerate(zip(*columns, strict=True), start=1):
        head = f"{rule} {number} of {len(columns[0])} "
        yield Text(head + rule * (min(width, 40) - len(head)))
        for name, value in zip(names, row, strict=True):
            if "\n" not in value and cell_len(name) < indent and indent + cell_len(value) <= width:
                yield Text.assemble((set_cell_size(name, indent), "bold"), value)
                continue
            yield from _wrapped(name, width, style="bold")
            for line in _wrapped(value, width - GAP):
                yield Text(" " * GAP) + line


def _broken(line: str, width: int) -> str:
    """Return a line of text in lines of at most this width; lines of tables, which have styles, fit already."""
    if "\x1b" in line or cell_len(line) <= width:
        return line
    return "\n".join(part.plain.rstrip() for part in _wrapped(line, width))


def _wrapped(text: str, width: int, style: str = "") -> Iterator[Text]:
    """Yield lines of at most this width, broken between words where that is possible."""
    if text:
        yield from Text(text, style).wrap(Console(width=width), width, overflow="fold")


def _is_number(field: pa.Field) -> bool:
    return bool(pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_decimal(field.type))


def _csv(table: pa.Table) -> bytes:
    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        if pa.types.is_timestamp(field.type):
            written = "%Y-%m-%dT%H:%M:%S" + ("%z" if field.type.tz else "")
            column = pc.strftime(column.cast(pa.timestamp("us", field.type.tz)), written)
        elif pa.types.is_nested(field.type) or pa.types.is_binary(field.type) or pa.types.is_dictionary(field.type):
            column = pa.array([None if v is None else json_text(v) for v in column.to_pylist()], pa.string())
        columns.append(column)
    if len(columns) == 1 and columns[0].null_count:
        columns = [columns[0].cast(pa.string()).fill_null("")]  # readers pass over empty lines
    sink = io.BytesIO()
    options = pyarrow.csv.WriteOptions(quoting_style="needed")
    pyarrow.csv.write_csv(pa.Table.from_arrays(columns, table.column_names), sink, options)
    return sink.getvalue()


def _json(table: pa.Table) -> bytes:
    rows = [json_text(row) for row in table.to_pylist()]
    return ("[\n  " + ",\n  ".join(rows) + "\n]\n" if rows else "[]\n").encode()


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    try:
        pq.write_table(table, sink, compression="zstd")
    except pa.ArrowException as error:
        reason = str(error).partition("\n")[0]
        raise QueryError(f"format: parquet cannot hold this answer ({reason}); possible: csv, json, table") from None
    return sink.getvalue()

"""The forms of a table: JSON, CSV, Parquet, a stream of Arrow; encoded also by processes that answer nobody by HTTP."""

import io
import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.tables.rendering.output_formats import render
from kd_sweep.tables.rendering.value_text import plain


class Form(StrEnum):
    """What a table is sent as."""

    JSON = "json"
    """``{"rows": [{column: value}], "next": cursor or null}``"""
    COLUMNS = "columns"
    """``{"columns": {column: [values]}, "num_rows": n, "next": cursor or null}``: JSON, with each name once."""
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"


MEDIA_TYPES = {
    Form.JSON: "application/json",
    Form.COLUMNS: "application/json",
    Form.CSV: "text/csv; charset=utf-8",
    Form.PARQUET: "application/vnd.apache.parquet",
    Form.ARROW: "application/vnd.apache.arrow.stream",
}


def arrow_stream(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    """Yield the bytes of a stream of Arrow, batch by batch, so that no table has to fit into memory."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield sink.getvalue()
            sink.seek(0)
            sink.truncate()
    yield sink.getvalue()


def encoded(table: pa.Table, form: Form, about: dict[str, Any]) -> bytes:
    """Return a table in a form; in JSON beside what is ``about`` it."""
    if form is Form.ARROW:
        return b"".join(arrow_stream(table.schema, iter(table.to_batches())))
    if form is Form.JSON:
        rows = zip(*(_values(column) for column in table.columns), strict=True)
        content = {"rows": [dict(zip(table.column_names, row, strict=True)) for row in rows], **about}
    elif form is Form.COLUMNS:
        columns = {name: _values(table[name]) for name in table.column_names}
        content = {"columns": columns, "num_rows": table.num_rows, **about}
    else:
        sink = io.BytesIO()
        render(table, form.value, sink)
        return sink.getvalue()
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Return the values of a column as JSON has them; most columns hold nothing that JSON lacks."""
    kind = column.type
    is_plain = pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind)
    is_number = pa.types.is_float32(kind) or pa.types.is_float64(kind)
    if is_plain or (is_number and pc.all(pc.is_finite(column)).as_py() is not False):  # None: there is no value
        values: list[Any] = column.to_pylist()
        return values
    return [plain(value) for value in column.to_pylist()]

"""Whole tables as answers: sent while they are read, so that millions of epochs take no memory."""

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fastapi.responses import StreamingResponse

from kd_sweep.service.http.answers.table_forms import MEDIA_TYPES, Form, arrow_stream
from kd_sweep.service.http.listening.returned_memory import give_back
from kd_sweep.tables.epoch_scan import snapshot
from kd_sweep.tables.reader import Results
from kd_sweep.tables.rendering.output_formats import render

_ROWS = 16_384


def table_stream(results: Results, name: str, form: Form) -> StreamingResponse:
    """Return a whole table as an answer that is written while the table is read.

    Args:
        results: of a study, or of all.
        name: of the table.
        form: Arrow, CSV or Parquet.
    """
    if name == "epochs":
        epochs = snapshot(list(results.select().values()))
        schema, batches = epochs.dataset.schema, epochs.batches(_ROWS)
    else:
        table = results.table(name)
        schema, batches = table.schema, iter(table.to_batches(_ROWS))
    write = _WRITERS[form]
    headers = {"Vary": "Accept", "Cache-Control": "private, no-cache"}
    if form is not Form.ARROW:
        headers["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    return StreamingResponse(_given_back(write(schema, batches)), 200, headers, MEDIA_TYPES[form])


def _given_back(pieces: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
    finally:
        give_back()


def _csv(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    is_first = True
    for batch in batches:
        if batch.num_rows or is_first:
            yield _csv_of(pa.Table.from_batches([batch], schema), with_head=is_first)
            is_first = False
    if is_first:
        yield _csv_of(schema.empty_table(), with_head=True)


def _csv_of(table: pa.Table, *, with_head: bool) -> bytes:
    sink = io.BytesIO()
    render(table, "csv", sink)
    content = sink.getvalue()
    return content if with_head else content.partition(b"\n")[2]


def _parquet(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    sink = _Drain()
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield sink.drained()
    yield sink.drained()


class _Drain(io.RawIOBase):
    """A file whose content is taken away while it is written."""

    def __init__(self) -> None:
        self._content, self._position = bytearray(), 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._content += content
        self._position += len(content)
        return len(content)

    def tell(self) -> int:
        return self._position

    def close(self) -> None:
        """What is not yet taken away stays."""

    def drained(self) -> bytes:
        """Return what was written since the last call."""
        content, self._content = bytes(self._content), bytearray()
        return content


_WRITERS = {Form.ARROW: arrow_stream, Form.PARQUET: _parquet, Form.CSV: _csv}

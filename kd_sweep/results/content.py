"""A checksum over the values of a table, kept in its file's metadata.

Parquet's own page checksums leave out the headers of pages and the footer; a flipped bit there can change what is
read without an error. This sum is over what is read, so it covers every byte that has a say in it.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kd_sweep.errors import CorruptFileError

CONTENT_KEY = b"content_sha256"
_ROWS_FOR_THREADS = 10_000

_threads = ThreadPoolExecutor(len(os.sched_getaffinity(0)), "digest")


class ContentDigest:
    """Sums up tables of one schema, given one after another."""

    def __init__(self, schema: pa.Schema) -> None:
        self._columns = [_ColumnDigest(field.name, _plain(field.type)) for field in schema]

    def add(self, table: pa.Table) -> None:
        """Take the next rows."""
        each = map if table.num_rows < _ROWS_FOR_THREADS else _threads.map
        for _ in each(lambda pair: pair[0].add(pair[1]), zip(self._columns, table.columns, strict=True)):
            pass

    def metadata(self) -> dict[bytes, bytes]:
        """Return what to keep in the file's metadata."""
        whole = hashlib.sha256()
        for column in self._columns:
            whole.update(column.digest())
        return {CONTENT_KEY: whole.hexdigest().encode()}


def content_metadata(table: pa.Table) -> dict[bytes, bytes]:
    """Return the metadata entry for a table that is written whole."""
    digest = ContentDigest(table.schema)
    digest.add(table)
    return digest.metadata()


def checked_content(file: pq.ParquetFile, where: str) -> pa.Table:
    """Return the whole table in a file. Files of before there were sums are believed.

    Raises:
        CorruptFileError: it is not the table that was written.
        pyarrow.ArrowException, OSError: it cannot be read at all.
    """
    table = file.read()
    stated = (file.metadata.metadata or {}).get(CONTENT_KEY)
    if stated is not None and content_metadata(table)[CONTENT_KEY] != stated:
        raise CorruptFileError(f"{where} is damaged: its values do not match their checksum")
    return table


class _ColumnDigest:
    """Values, nulls and the lengths of texts are summed apart, so that it does not matter how rows are grouped."""

    def __init__(self, name: str, kind: pa.DataType) -> None:
        self._name, self._kind = name, kind
        self._num_rows = 0
        self._sums = {part: hashlib.sha256() for part in ("nulls", "lengths", "values")}

    def add(self, values: pa.ChunkedArray) -> None:
        for chunk in values.cast(self._kind).chunks:
            if chunk.null_count:
                places = np.flatnonzero(chunk.is_null().to_numpy(zero_copy_only=False)) + self._num_rows
                self._sums["nulls"].update(places.astype("<i8").data)
            self._num_rows += len(chunk)
            if pa.types.is_string(self._kind):
                self._add_text(pc.fill_null(chunk, "") if chunk.null_count else chunk)
            elif not pa.types.is_null(self._kind):
                numbers = chunk.cast(pa.int64()) if pa.types.is_timestamp(self._kind) else chunk
                if numbers.null_count:
                    numbers = pc.fill_null(numbers, False if pa.types.is_boolean(self._kind) else 0)
                self._sums["values"].update(numbers.to_numpy(zero_copy_only=False).data)

    def _add_text(self, chunk: pa.Array) -> None:
        self._sums["lengths"].update(pc.binary_length(chunk).to_numpy(zero_copy_only=False).astype("<i4").data)
        _, offsets, content = chunk.buffers()
        if content is not None and len(chunk):
            bounds = np.frombuffer(offsets, dtype="<i4")[chunk.offset : chunk.offset + len(chunk) + 1]
            self._sums["values"].update(memoryview(content)[bounds[0] : bounds[-1]])

    def digest(self) -> bytes:
        about = f"{self._name}:{self._kind}:{self._num_rows}:".encode()
        return about + b"".join(part.digest() for part in self._sums.values())


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind

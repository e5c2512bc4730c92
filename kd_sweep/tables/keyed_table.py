"""A small table with one row per key: held in memory, kept in one Parquet file that is replaced whole."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kd_sweep.storage.parquet_checksums import UNSEALED, check_footer, check_whole, damage_named, seal
from kd_sweep.storage.root import Root
from kd_sweep.tables.current_files import table_file
from kd_sweep.tables.kept_tables import KeptTables
from kd_sweep.tables.schema import (
    LARGE_COLUMNS,
    TABLE_FILES,
    TRIALS_COPY,
    added_columns,
    added_type,
    as_text,
    check_version,
    common_type,
    conformed,
)
from kd_sweep.tables.value_checks import added, checked, checks_of

T = TypeVar("T")

# Other columns differ from row to row: a dictionary of them costs most of a save and saves no byte.
_REPEATED = ("study", "status", "student", "teacher", "model", "host")
_ROWS_AT_ONCE = 512


class KeyedTable:
    """Rows by key, merged by `upsert`, saved by `save`.

    Only rows that changed since the last save are turned into Arrow again: with thousands of finished trials a save
    costs what its few running ones cost, and the writing of the file.
    """

    def __init__(
        self,
        root: Root,
        name: str,
        schema: pa.Schema,
        key: str,
        *,
        extensible: bool = False,
        copy: str | None = None,
    ) -> None:
        """Load the file ``name`` under ``root``; no file is an empty table. `CorruptFileError` if it is damaged.

        ``copy`` names a second file with the same bytes.
        """
        self._root, self._name, self._base, self._key, self._copy = root, name, schema, key, copy
        self._checks = checks_of(schema)
        self._other = added if extensible else None
        loaded = read_keyed(root, name)
        self._added = {column: loaded.schema.field(column).type for column in added_columns(loaded.schema, schema)}
        self._saved = conformed(loaded, self.schema)
        self._changed: set[str] = set()
        self.rows: dict[str, dict[str, Any]] = {
            row[key]: {column: value for column, value in row.items() if value is not None}
            for row in self._saved.to_pylist()
        }
        """Rows by key, without their nulls. To be changed by `upsert` only."""

    @property
    def schema(self) -> pa.Schema:
        """The base schema with the added columns."""
        fields = [pa.field(name, kind) for name, kind in self._added.items()]
        return pa.schema([*self._base, *fields], metadata=self._base.metadata)

    def upsert(self, row: Mapping[str, Any]) -> None:
        """Merge a partial row into the row of its key. None deletes a value; columns not named stay.

        Raises `ValueError` for a missing key, an unknown column, a wrong type, NaN and infinity.
        """
        cells = checked(row, self._checks, self._other)
        key = cells.get(self._key)
        if not key:
            raise ValueError(f"{self._key} is missing")
        known = self.rows.setdefault(key, {})
        if all(known.get(name) == value and type(known.get(name)) is type(value) for name, value in cells.items()):
            return
        for name, value in cells.items():
            if value is not None:
                known[name] = value
                self._fit(name, value)
            else:
                known.pop(name, None)
        self._changed.add(key)

    @property
    def is_changed(self) -> bool:
        """Whether there is something to save."""
        return bool(self._changed)

    def table(self) -> pa.Table:
        """Return all rows as Arrow, in the order in which their keys came."""
        if self._changed:
            self._saved = self._merged()
            self._changed.clear()
        return self._saved

    def save(self, *, always: bool = False) -> None:
        """Replace the file if anything changed, or ``always``. After a failure the next call tries again."""
        if not (self._changed or always):
            return
        changed = set(self._changed)
        try:
            with self._root.replace(self._name) as sink:
                table = self.table()
                repeated = [name for name in _REPEATED if name in table.column_names]
                with pq.ParquetWriter(
                    sink, table.schema, compression="zstd", write_page_checksum=True, use_dictionary=repeated
                ) as writer:
                    writer.write_table(table)
                    writer.add_key_value_metadata(UNSEALED)
                seal(sink)
                sink.seek(0)
                content = sink.read()
            if self._copy is not None:  # of two copies one may be lost in a power cut
                self._root.write_bytes(self._copy, content, durable=False)
        except BaseException:
            self._changed |= changed
            raise

    def _fit(self, name: str, value: Any) -> None:
        """Widen an added column so that the value fits."""
        if name in self._checks:
            return
        old, new = self._added.get(name), added_type([value])
        if old is None:
            self._added[name] = new
        elif old != new:
            self._added[name] = common_type(old, new)
            self._changed.update(self.rows)

    def _merged(self) -> pa.Table:
        schema = self.schema
        fresh = [self.rows[key] for key in self.rows if key in self._changed]
        table = pa.Table.from_arrays([_array(field, fresh) for field in schema], schema=schema)
        if len(fresh) == len(self.rows):
            return table
        is_old = pc.invert(pc.is_in(self._saved[self._key], pa.array(sorted(self._changed), pa.string())))
        both = pa.concat_tables([conformed(self._saved.filter(is_old), schema), table])
        order = pc.index_in(pa.array(list(self.rows), pa.string()), value_set=both[self._key])
        return both.take(order).combine_chunks()


_KEPT = KeptTables()


def read_table(root: Root, name: str, *, is_whole: bool = True) -> pa.Table:
    """Return the current table of a study, by its name in `TABLE_FILES`; without columns if there is none.

    It is kept for the next one who asks, unless it has its large columns. Errors are those of `read_keyed`.

    Args:
        root: of the study.
        name: of the table.
        is_whole: whether with `LARGE_COLUMNS`.
    """
    is_kept = not is_whole or name not in (TABLE_FILES["trials"], TRIALS_COPY)

    def opened(file: str) -> pa.Table:
        return _opened(root, file, check_whole, pq.ParquetFile.read if is_whole else _read_small)

    def read(file: str) -> pa.Table:
        return _KEPT.get(root, file, lambda: opened(file)) if is_kept else opened(file)

    return _current(root, name, read, pa.table({}))


def _read_small(parquet: pq.ParquetFile) -> pa.Table:
    return parquet.read([name for name in parquet.schema_arrow.names if name not in LARGE_COLUMNS])


def table_schema(root: Root, name: str) -> pa.Schema:
    """Return the columns of the current table, without reading its rows; errors as `read_keyed`."""
    return _current(root, name, lambda file: _opened(root, file, check_footer, _schema_of), pa.schema([]))


def configurations(root: Root) -> Iterator[pa.RecordBatch]:
    """Yield `trial_id` and `LARGE_COLUMNS` of the trials of a study, a few hundred at a time; errors as `read_keyed`.

    Of 10,000 trials they are 14 MB, and read at once 37 MB.
    """
    name = TABLE_FILES["trials"]
    file = table_file(root, name)
    while True:
        try:
            with _open(root, file, check_whole) as parquet:
                yield from parquet.iter_batches(_ROWS_AT_ONCE, columns=["trial_id", *LARGE_COLUMNS])
            return
        except FileNotFoundError:
            if (current := table_file(root, name)) == file:
                return
            file = current


def read_keyed(root: Root, file: str) -> pa.Table:
    """Return the table in a file; without columns where there is no file.

    Raises:
        CorruptFileError: a byte of it is not what was written; the file is named.
        StorageError: it cannot be read, or a newer kd_sweep wrote it.
    """
    try:
        return _opened(root, file, check_whole, pq.ParquetFile.read)
    except FileNotFoundError:
        return pa.table({})


def _current(root: Root, name: str, read: Callable[[str], T], missing: T) -> T:
    """Read the file that is a table now: a writer whose term begins meanwhile deletes that of the term before."""
    file = table_file(root, name)
    while True:
        try:
            return read(file)
        except FileNotFoundError:
            if (current := table_file(root, name)) == file:
                return missing
            file = current


def _opened(
    root: Root, file: str, check: Callable[[pa.NativeFile, str], Any], read: Callable[[pq.ParquetFile], T]
) -> T:
    with _open(root, file, check) as parquet:
        return read(parquet)


@contextmanager
def _open(root: Root, file: str, check: Callable[[pa.NativeFile, str], Any]) -> Iterator[pq.ParquetFile]:
    location = root.location_of(file)
    with root.open_input(file) as source, damage_named(location):
        check(source, location)
        parquet = pq.ParquetFile(source, page_checksum_verification=True)
        check_version(parquet.schema_arrow, location)
        yield parquet


def _schema_of(parquet: pq.ParquetFile) -> pa.Schema:
    return parquet.schema_arrow


def _array(field: pa.Field, rows: list[dict[str, Any]]) -> pa.Array:
    values = [row.get(field.name) for row in rows]
    if field.type == pa.string():
        values = [as_text(value) for value in values]
    return pa.array(values, field.type)

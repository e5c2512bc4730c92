"""The types of SQL answers: Arrow types that every output format can hold, and DuckDB's text for all others."""

import datetime
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

_PLAIN = frozenset(
    {
        *("boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint"),
        *("float", "double", "decimal", "varchar", "uuid", "blob", "enum"),
        *("date", "timestamp", "timestamp_s", "timestamp_ms", "timestamp with time zone"),
    }
)
"""Kinds of DuckDB's types whose Arrow type has the same values. `hugeint` and `null` are outside of lists and structs.

Others lose something on the way: an interval its months, a bit string its length, a time its zone, a number of 128 bits
its highest one; 24:00:00 becomes 00:00:00, and nanoseconds need pandas.
"""
_PLAIN_OUTSIDE = ("hugeint", "null")
_NESTED = frozenset({"list", "array", "struct", "map", "tuple"})
_EPOCH = datetime.date(1970, 1, 1).toordinal()
_FIRST_DAY, _LAST_DAY = (day.toordinal() - _EPOCH for day in (datetime.date.min, datetime.date.max))
_UNITS_PER_S = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_S = 24 * 60 * 60
_DECIMAL_DIGITS = 38


def portable(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Return the relation with unequal column names, and with values of types that Arrow lacks as text."""
    names = distinct(relation.columns)
    as_text = [kind.id not in _PLAIN_OUTSIDE and not _is_plain(kind) for kind in relation.types]
    if names == relation.columns and not any(as_text):
        return relation
    columns = []
    for number, (name, is_text) in enumerate(zip(names, as_text, strict=True), start=1):
        value = f"CAST(#{number} AS VARCHAR)" if is_text else f"#{number}"
        quoted = name.replace('"', '""')
        columns.append(f'{value} AS "{quoted}"')
    return relation.project(", ".join(columns))


def distinct(names: Sequence[str]) -> list[str]:
    """Return the names with `_1`, `_2`, … added to repeated ones, as DuckDB names a table's columns."""
    unequal: list[str] = []
    for name in names:
        candidates = (f"{name}_{number}" for number in range(1, len(names) + 1) if f"{name}_{number}" not in names)
        unequal.append(name if name not in unequal else next(other for other in candidates if other not in unequal))
    return unequal


def extreme_values_as_text(table: pa.Table) -> pa.Table:
    """Return the table with columns as text where a value is infinite or beyond what Python's and Parquet's types hold.

    Those are dates and times outside of the years 1 to 9999, and whole numbers of more than 38 digits.
    """
    for index, field in enumerate(table.schema):
        column = table.column(index)
        if not any(_is_beyond(leaf) for chunk in column.chunks for leaf in _leaves(chunk)):
            continue
        table = table.set_column(index, field.name, _as_text(column))
    return table


def _is_plain(kind: Any) -> bool:
    if kind.id not in _NESTED:
        return kind.id in _PLAIN
    inner = [child for _, child in kind.children]
    if kind.id == "array":
        inner = inner[:1]  # the second is its length
    return bool(inner) and all(map(_is_plain, inner))


def _leaves(array: pa.Array) -> Iterator[pa.Array]:
    """Yield the arrays of values inside lists and structs."""
    if pa.types.is_map(array.type):
        yield from _leaves(array.keys)
        yield from _leaves(array.items)
    elif pa.types.is_struct(array.type):
        for field in array.flatten():
            yield from _leaves(field)
    elif pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type):
        yield from _leaves(array.flatten())
    else:
        yield array


def _is_beyond(array: pa.Array) -> bool:
    kind = array.type
    if pa.types.is_date32(kind):
        return _outside(array.cast(pa.int32()), _FIRST_DAY, _LAST_DAY)
    if pa.types.is_timestamp(kind):
        per_day = _DAY_S * _UNITS_PER_S[kind.unit]
        return _outside(array.cast(pa.int64()), _FIRST_DAY * per_day, (_LAST_DAY + 1) * per_day - 1)
    if pa.types.is_decimal(kind) and kind.precision == _DECIMAL_DIGITS and kind.scale == 0:
        return any(value is not None and abs(value) >= 10**_DECIMAL_DIGITS for value in array.to_pylist())
    return False


def _outside(numbers: pa.Array, least: int, greatest: int) -> bool:
    ends = pc.min_max(numbers).as_py()
    return ends["min"] is not None and (ends["min"] < least or ends["max"] > greatest)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_decimal(column.type):
        return pa.chunked_array([[None if value is None else str(value) for value in column.to_pylist()]], pa.string())
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='UTC'")
        connection.register("answer", pa.table({"value": column}))
        text = connection.sql("SELECT CAST(value AS VARCHAR) AS value FROM answer").to_arrow_table()
    return text.column(0)

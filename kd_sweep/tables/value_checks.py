"""Checks of values for the tables, made when a row arrives: one bad value never blocks a later flush."""

import datetime
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from kd_sweep.tables.schema import as_text

_INT64 = 2**63
_ADDED_NAME = re.compile(r"^[a-z][a-z0-9_]*$")

Check = Callable[[str, Any], Any]


def finite(name: str, value: Any) -> float:
    """Return a number as a float; `ValueError` for NaN, infinity or anything else."""
    if value.__class__ is float or not isinstance(value, str | bool | bytes):
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise ValueError(f"{name}: {value!r} is not a finite number")


def whole(name: str, value: Any) -> int:
    """Return a whole number that fits 64 bits; `ValueError` for anything else."""
    if not isinstance(value, bool) and hasattr(value, "__index__") and -_INT64 <= int(value) < _INT64:
        return int(value)
    raise ValueError(f"{name}: {value!r} is not a whole number")


def text(name: str, value: Any) -> str:
    """Return a string; `ValueError` for anything else, and for what UTF-8 cannot encode."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode() if not value.isascii() else value
    raise ValueError(f"{name}: {value!r} is not a string")


def moment(name: str, value: Any) -> datetime.datetime:
    """Return a time in UTC from an aware datetime or from seconds since 1970; `ValueError` for anything else."""
    if isinstance(value, datetime.datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name}: {value!r} has no time zone")
        return value.astimezone(datetime.UTC)
    return datetime.datetime.fromtimestamp(finite(name, value), datetime.UTC)


def finite_list(name: str, values: Any) -> list[float | None]:
    """Return a list of numbers and nulls; `ValueError` for anything else."""
    if not isinstance(values, list | tuple):
        raise ValueError(f"{name}: {values!r} is not a list")
    return [None if value is None else finite(name, value) for value in values]


def checks_of(schema: pa.Schema) -> dict[str, Check]:
    """Return the check of every column."""
    return {field.name: _check(field.type) for field in schema}


def _check(kind: pa.DataType) -> Check:
    if pa.types.is_floating(kind):
        return finite
    if pa.types.is_integer(kind):
        return whole
    if pa.types.is_list(kind):
        return finite_list
    return moment if pa.types.is_timestamp(kind) else text


def added(name: str, value: Any) -> Any:
    """Return the value of a searched field's column: bool, int, finite float or string as they are, others as JSON."""
    if not _ADDED_NAME.match(name):
        raise ValueError(f"{name!r} is not a column name: lower-case letters, digits and underscores")
    if isinstance(value, float):
        return finite(name, value)
    if isinstance(value, int) and not isinstance(value, bool):
        return whole(name, value)
    return value if isinstance(value, bool | str) else as_text(value)


def checked(row: Mapping[str, Any], checks: Mapping[str, Check], other: Check | None = None) -> dict[str, Any]:
    """Return the row with every value checked, and nulls kept. ``other`` takes unknown columns, else `ValueError`."""
    result: dict[str, Any] = {}
    for name, value in row.items():
        check = checks.get(name, other)
        if check is None:
            raise ValueError(f"{name!r} is not a column of this table")
        result[name] = None if value is None else check(name, value)
    return result

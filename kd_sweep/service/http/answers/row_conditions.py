"""Conditions on the rows of a table, as a query string has them: `val_accuracy>=0.8`, `distillation_loss=kl`."""

import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from kd_sweep.errors import QueryError
from kd_sweep.service.http.answers.paging import check_columns
from kd_sweep.tables.rendering.value_text import plain
from kd_sweep.tables.schema import as_text

MOST_CONDITIONS = 40
_CONDITION = re.compile(r"(\w+)(>=|<=|=)(.+)", re.DOTALL)
_OPERATORS: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le, "=": operator.eq}


def matching(table: pa.Table, conditions: Sequence[str]) -> pa.Table:
    """Return the rows that fulfil all conditions; one without a value fulfils none.

    Args:
        table: all rows.
        conditions: a column, `>=`, `<=` or `=`, and a value each. Numbers are compared as such; of other columns those
            that are equal as text are found.

    Raises:
        QueryError: one is no condition, or there is no such column. One line.
    """
    if len(conditions) > MOST_CONDITIONS:
        raise QueryError(f"where: {len(conditions)} conditions are more than {MOST_CONDITIONS}")
    rows = list(range(table.num_rows))
    for condition in conditions:
        parts = _CONDITION.fullmatch(condition)
        if parts is None:
            raise QueryError(f"where: {condition!r} is no condition, such as val_accuracy>=0.8 or status=completed")
        column, sign, wanted = parts.groups()
        check_columns(table, [column], "where")
        holds = _test(table.schema.field(column), sign, wanted)
        values = table[column].to_pylist()
        rows = [row for row in rows if values[row] is not None and holds(values[row])]
    return table.take(pa.array(rows, pa.int64()))


def _test(field: pa.Field, sign: str, wanted: str) -> Callable[[Any], bool]:
    compare = _OPERATORS[sign]
    if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
        try:
            number = float(wanted)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            raise QueryError(f"where: {field.name}: {wanted!r} is not a number")
        return lambda value: compare(value, number)
    if sign != "=":
        raise QueryError(f"where: {field.name}: {sign} is for numbers, and this is {field.type}; possible: =")
    return lambda value: as_text(plain(value)) == wanted

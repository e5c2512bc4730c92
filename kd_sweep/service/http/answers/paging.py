"""Pages of a table: in an order that a client names, each beginning behind the last row of the one before."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.errors import QueryError, alternatives
from kd_sweep.service.http.answers.cursors import cursor_of, key_of
from kd_sweep.tables.epoch_scan import snapshot
from kd_sweep.tables.reader import Results
from kd_sweep.tables.rendering.value_text import plain

MOST_ROWS = 10_000
"""Of a page."""
USUAL_ROWS = 100


def page_of(table: pa.Table, sort: str, identity: str, after: str | None, limit: int) -> tuple[pa.Table, str | None]:
    """Return a page of a table, and the cursor of the next one; None behind the last.

    A row that comes or goes meanwhile moves no other from one page to another.

    Args:
        table: all rows.
        sort: the column to sort by, with ``-`` before it for the greatest first. Rows without a value are last.
        identity: the column with values that no two rows share; it decides between equals.
        after: the cursor; None for the first page.
        limit: the most rows.

    Raises:
        QueryError: there is no such column.
        RefusedRequestError: the cursor is none of this list.
    """
    descending, column = sort.startswith("-"), sort.removeprefix("-")
    check_columns(table, [column], "sort")
    values = [plain(value) for value in table[column].to_pylist()]
    keys = list(zip(values, table[identity].to_pylist(), range(table.num_rows), strict=True))
    keys.sort(key=lambda key: key[1])
    present = [key for key in keys if key[0] is not None]
    present.sort(key=lambda key: key[0], reverse=descending)
    ordered = [*present, *(key for key in keys if key[0] is None)]
    if after is not None:
        value, last = key_of(after, object, object)
        ordered = [key for key in ordered if _is_after(key, value, last, descending=descending)]
    shown = ordered[:limit]
    is_last = len(shown) == len(ordered)
    return table.take(pa.array([row for _, _, row in shown], pa.int64())), (
        None if is_last or not shown else cursor_of(shown[-1][0], shown[-1][1])
    )


def epochs_page(
    study: Results, after: str | None, limit: int, columns: str | None = None
) -> tuple[pa.Table, str | None]:
    """Return a page of the epochs of a study, by trial and epoch, and the cursor of the next one; None behind the last.

    Args:
        study: one alone.
        after: the cursor; None for the first page.
        limit: the most rows.
        columns: as `selected` takes them.

    Raises:
        QueryError: there is no such column.
        RefusedRequestError: the cursor is none of this list.
    """
    trial, epoch = ("", 0) if after is None else key_of(after, str, int)
    # The trials first: rows have many columns, and a page needs few of the rows.
    trials = study.sql(
        "SELECT trial_id, count(*) AS number FROM epochs "
        "WHERE trial_id > $trial OR (trial_id = $trial AND epoch > $epoch) GROUP BY trial_id ORDER BY trial_id",
        {"trial": trial, "epoch": epoch},
    )
    ends = list(accumulate(trials["number"].to_pylist(), initial=0))
    trial_ids = trials["trial_id"].slice(0, bisect_left(ends, limit)).to_pylist()
    epochs = snapshot(list(study.select().values()))
    shown = selected(epochs.dataset.schema.empty_table(), columns).column_names
    rows = epochs.of_trials(trial_ids, shown)
    is_behind = pc.or_(pc.greater(rows["trial_id"], trial), pc.greater(rows["epoch"], epoch))
    rows = rows.filter(is_behind)
    page = rows.slice(0, limit)
    if max(rows.num_rows, ends[-1]) <= limit:
        return page.select(shown), None
    return page.select(shown), cursor_of(page["trial_id"][limit - 1].as_py(), page["epoch"][limit - 1].as_py())


def selected(table: pa.Table, columns: str | None) -> pa.Table:
    """Return the columns that a text names, separated by commas; all when None."""
    if columns is None:
        return table
    names = [name.strip() for name in columns.split(",") if name.strip()]
    check_columns(table, names, "columns")
    return table.select(names)


def check_columns(table: pa.Table, names: Sequence[str], where: str) -> None:
    """Raise `QueryError` for a name that no column has."""
    for name in names:
        if name not in table.column_names:
            raise QueryError(f"{where}: {name!r} is not a column; {alternatives(name, table.column_names)}")


def _is_after(key: tuple[Any, Any, int], value: Any, last: Any, *, descending: bool) -> bool:
    if key[0] is None or value is None:
        return key[0] is None and (value is not None or key[1] > last)
    try:
        return bool(key[1] > last if key[0] == value else (key[0] < value) == descending)
    except TypeError:  # the cursor of another order
        return False

"""Outcomes by setting as papers have them: the mean over seeds with its interval in one cell."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.axis_words import words
from kd_sweep.figures.report.shown_tables import Heading, ShownTable, interval_cells
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.named_query import remarks_of
from kd_sweep.tables.queries.setting_columns import searched_fields
from kd_sweep.tables.reader import Results
from kd_sweep.tables.rendering.value_text import cells

_OUTCOMES = ("val_accuracy", "fidelity_val", "attention_overlap_teachers", "generalization_gap", "ensemble_accuracy")
_MOST_OUTCOMES = 6
_MOST_ROWS = 60
Row = dict[str, Any]


def setting_means(results: Results) -> ShownTable | None:
    """Return means of the objectives and of what the claims are about, a row for each setting; None without any."""
    asked = [objective["metric"] for each in results.objectives().values() for objective in each]
    views: dict[str, pa.Table] = {}
    for outcome in dict.fromkeys([*asked, *_OUTCOMES]):
        view = _view(results, outcome)
        if view is not None and len(views) < _MOST_OUTCOMES:
            views[outcome] = view
    if not views:
        return None
    fields = [name for name in searched_fields(results) if any(name in view.column_names for view in views.values())]
    by_setting = {outcome: {_key(row, fields): row for row in view.to_pylist()} for outcome, view in views.items()}
    found = dict.fromkeys(key for rows in by_setting.values() for key in rows)
    keys = list(found)[:_MOST_ROWS]
    columns = [cells([key[index] for key in keys]) for index in range(len(fields))]
    columns += [_cells([rows.get(key) for key in keys]) for rows in by_setting.values()]
    seeds = [_seeds([rows.get(key) for rows in by_setting.values()]) for key in keys]
    head = [Heading(words(name), is_number=True) for name in (*fields, *views)]
    hidden = len(found) - len(keys)
    notes = [*dict.fromkeys(remark for view in views.values() for remark in remarks_of(view))]
    more = [f"{hidden:,} more settings: kd-sweep query ROOT points"] if hidden else []
    return ShownTable(
        f"Means over seeds by setting, after the last epoch{_intervals(by_setting.values())}",
        [*head, Heading("Seeds", is_number=True)],
        list(zip(*columns, seeds, strict=True)),
        " ".join([*(f"{note.rstrip('.')}." for note in notes), *(f"{one}." for one in more)]).removesuffix("."),
        hidden,
    )


def _view(results: Results, outcome: str) -> pa.Table | None:
    """Return the rows of an outcome that have a finite mean; None where there are none."""
    try:
        view = answer(results, "dose_response", {"outcome": outcome})
    except QueryError:
        return None
    finite = view.filter(pc.is_finite(view["mean"]))
    return finite if finite.num_rows else None


def _key(row: Row, fields: Sequence[str]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in fields)


def _cells(rows: Sequence[Mapping[str, Any] | None]) -> list[str]:
    known = [row or {} for row in rows]
    means, lows, highs = ([row.get(name) for row in known] for name in ("mean", "t_low", "t_high"))
    texts = cells([*means, *lows, *highs])[: len(known)]
    intervals = interval_cells(lows, highs, means)
    return [text if interval == "-" else f"{text} {interval}" for text, interval in zip(texts, intervals, strict=True)]


def _seeds(rows: Sequence[Row | None]) -> str:
    numbers = {row["num_seeds"] for row in rows if row is not None}
    return str(max(numbers)) if len(numbers) == 1 else f"{min(numbers)} to {max(numbers)}"


def _intervals(outcomes: Any) -> str:
    has = any(row["t_low"] is not None for rows in outcomes for row in rows.values())
    return "; in brackets 95 % intervals of the mean (Student's t)" if has else ""

"""The figure of a metric over epochs: quantile bands of settings, and where trials were stopped."""

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.analysis.wording import counted
from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.axis_words import axis_label, value_label, words
from kd_sweep.figures.plots.figure_kind import DEFAULT_METRIC, Drawing, FigureKind
from kd_sweep.figures.plots.lines import SIZE, STRENGTH, Fields, Key, Row, evenly, fields_over, put_title, said_of
from kd_sweep.figures.plots.looks import looks
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.views.epoch_views import MAX_BANDS
from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_PANELS, _MAX_STRENGTHS = 3, 4
_LOW, _MIDDLE, _HIGH = "q0_1", "q0_5", "q0_9"


def _read(results: Results, metric: str | None) -> Drawing:
    metric = metric or DEFAULT_METRIC
    fields, apart = _kept_apart(results)
    view = answer(results, "bands", {"metric": metric, "by": apart})
    finite = view.filter(pc.is_finite(view[_MIDDLE]))
    if finite.num_rows == 0:
        raise QueryError(f"no trial has reported {metric}")
    found = sorted({row.get(STRENGTH) for row in finite.to_pylist()}, key=lambda value: (value is None, value))
    strengths = evenly(found, _MAX_STRENGTHS)
    panels: dict[Key, list[Row]] = {key: [] for key in fields.keys}
    for row in finite.to_pylist():
        if row.get(STRENGTH) in strengths and fields.key_of(row) in panels:
            panels[fields.key_of(row)].append(row)
    stops = answer(results, "stops")
    remarks = [*fields.remarks, *said_of(view)]
    if len(strengths) < len(found):
        remarks.append(f"Drawn are {len(strengths)} of {len(found)} strengths, evenly chosen.")
    table = pa.Table.from_pylist([row for rows in panels.values() for row in rows], finite.schema)
    last, reach = pc.max(table["epoch"]).as_py(), _reach(table)
    draw = [
        partial(_draw, metric, rows, strengths, stops, (last, reach), fields.label_of(key))
        for key, rows in panels.items()
        if rows
    ]
    caption = [
        f"{words(metric)} over epochs.",
        _medians(table),
        *_about_stops(stops),
        *remarks,
    ]
    return Drawing(draw, {"": table, "stops": stops} if stops.num_rows else {"": table}, caption)


def _kept_apart(results: Results) -> tuple[Fields, list[str]]:
    """Return which fields make panels, and all that the view keeps apart: as many as it has room for."""
    trials = results.table("trials")
    for pooled in ((), (SIZE,), (SIZE, STRENGTH)):
        fields = fields_over(results, STRENGTH, _MAX_PANELS, pooled, begun=True)
        apart = [name for name in (STRENGTH, *fields.lines) if name not in pooled]
        if trials.group_by(apart).aggregate([]).num_rows <= MAX_BANDS:
            break
    return fields, apart


def _draw(
    metric: str,
    rows: Sequence[Row],
    strengths: Sequence[float | None],
    stops: pa.Table,
    ends: tuple[int, tuple[float, float]],
    title: str,
    axes: "Axes",
) -> None:
    from matplotlib.ticker import MaxNLocator

    for strength, look in zip(strengths, looks(len(strengths)), strict=True):
        own = sorted((row for row in rows if row.get(STRENGTH) == strength), key=lambda row: row["epoch"])
        if not own:
            continue
        x, low, middle, high = ([row[name] for row in own] for name in ("epoch", _LOW, _MIDDLE, _HIGH))
        axes.fill_between(x, low, high, color=look.color, alpha=0.16, linewidth=0)
        axes.plot(
            x,
            middle,
            color=look.color,
            linestyle=look.dashes,
            marker=look.marker if len(x) == 1 else "",
            label="all strengths" if strength is None else value_label(STRENGTH, strength),
        )
    if stops.num_rows:
        at = stops["epoch"].to_pylist()
        axes.plot(
            at, [0.02] * len(at), "x", color="black", transform=axes.get_xaxis_transform(), label="trials stopped"
        )
    last, reach = ends
    axes.set_xlim(1 - 0.04 * last, last * 1.02)
    axes.set_ylim(reach)
    put_title(axes, title)
    axes.set_xlabel("Epoch")
    axes.set_ylabel(axis_label(metric))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _reach(table: pa.Table) -> tuple[float, float]:
    """Return where the vertical axis of every panel begins and ends, so that panels can be compared."""
    values = [value for name in (_LOW, _HIGH) for value in table[name].to_pylist() if value is not None]
    finite = [value for value in values if math.isfinite(value)] or table[_MIDDLE].to_pylist()
    low, high = min(finite), max(finite)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def _medians(table: pa.Table) -> str:
    low, high = pc.min_max(table["num_trials"]).as_py().values()
    if high == 1:
        return "Each line is one trial (n = 1), so there is no band."
    number = f"{low} to {high} trials" if low < high else f"{high} trials"
    return (
        f"Lines are medians over {number}, those that have reached the epoch. Bands go from the 10 % to the 90 % "
        "quantile of these trials: a spread, not an interval of the median."
    )


def _about_stops(stops: pa.Table) -> list[str]:
    if stops.num_rows == 0:
        return []
    number = pc.sum(stops["num_stopped"]).as_py()
    epochs = f"{stops.num_rows} different epochs" if stops.num_rows > 1 else f"epoch {stops['epoch'][0].as_py()}"
    return [
        f"Crosses mark where the scheduler stopped {counted(number, 'trial')}, of any setting: at {epochs}. Later "
        "epochs show the trials that went on."
    ]


CURVES = FigureKind(
    "curves",
    "Learning curves",
    "A metric over epochs: the median and a band for each strength, and where trials were stopped.",
    ("bands", "stops"),
    _read,
    takes_metric=True,
)

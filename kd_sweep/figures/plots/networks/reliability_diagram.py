"""The figure of how often student and ensemble are right by how sure they are."""

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.figure_kind import Drawing, FigureKind
from kd_sweep.figures.plots.lines import Fields, Row, fields_over, nobody_has, said_of, span
from kd_sweep.study.metric_catalogue import CALIBRATION_BINS
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NETWORKS = ("student", "ensemble")
_SMALLEST, _LARGEST = 2.0, 40.0
"""Areas of markers, in square points."""
_MAX_LINES = 4
_FEWEST = 10
"""Images of a bin that a line joins: the accuracy of fewer jumps by more than a tenth with each."""


def _read(results: Results, _: str | None) -> Drawing:
    fields = fields_over(results, "", most=_MAX_LINES)
    view = answer(results, "reliability", {"by": [*fields.lines]})
    rows = [row for row in view.to_pylist() if row["num_images"] and fields.key_of(row) in fields.keys]
    if not rows:
        raise QueryError(nobody_has(results, "bins of confidence"))
    most = max(row["num_images"] for row in rows)
    trials = span({fields.key_of(row): row["num_trials"] for row in rows}.values())
    caption = [
        f"Accuracy against mean confidence on clean validation images, in {CALIBRATION_BINS} bins of confidence of one "
        "width, after the last epoch. On the grey line a network is as often right as it is sure; below, too sure.",
        f"A marker is a bin, of the images of all seeds together (n = {trials} trial{'s' * (trials != '1')} a line, no "
        f"intervals). Its area grows with their number, at most {most}. Lines join bins of {_FEWEST} "
        "images or more: one of fewer says little.",
        *fields.remarks,
        *said_of(view),
    ]
    panels = [partial(_draw, network, fields, rows, most) for network in _NETWORKS]
    return Drawing(panels, {"": pa.Table.from_pylist(rows, view.schema)}, caption, shape=0.95)


def _draw(network: str, fields: Fields, rows: Sequence[Row], most: int, axes: "Axes") -> None:
    axes.axline((0, 0), slope=1, color="0.6", linewidth=0.6, zorder=0)
    for key, (color, marker, dashes) in fields.looks().items():
        own = [row for row in rows if row["network"] == network and fields.key_of(row) == key]
        if not own:
            continue
        x, y = [row["confidence"] for row in own], [row["accuracy"] for row in own]
        areas = [_SMALLEST + (_LARGEST - _SMALLEST) * row["num_images"] / most for row in own]
        label = fields.label_of(key)
        line = [row["accuracy"] if row["num_images"] >= _FEWEST else math.nan for row in own]
        axes.plot(x, line, color=color, linestyle=dashes, linewidth=0.7)
        marks = axes.scatter(x, y, s=areas, color=[color], marker=marker, label=label or None, linewidths=0, zorder=3)
        marks.set_clip_on(False)  # those at 0 and 1 are whole
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"Confidence of the {network}")
    axes.set_ylabel("Accuracy")


RELIABILITY = FigureKind(
    "reliability",
    "Reliability diagrams",
    "How often student and ensemble are right by how sure they are, in bins of confidence.",
    ("reliability",),
    _read,
)

"""The figure of fidelity on training images against that on validation images."""

from functools import partial
from typing import TYPE_CHECKING

from kd_sweep.figures.plots.axis_words import axis_label
from kd_sweep.figures.plots.figure_kind import Drawing, FigureKind
from kd_sweep.figures.plots.lines import (
    Lines,
    drawn_interval,
    fields_over,
    lines_of,
    one_table,
    seeds_and_intervals,
    strength_field,
)
from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TRAIN, _VAL = "fidelity_train", "fidelity_val"
_SMALLEST, _LARGEST = 6.0, 34.0
"""Areas of markers, in square points."""


def _read(results: Results, _: str | None) -> Drawing:
    fields = fields_over(results, strength_field(results))
    train, val = (lines_of(results, outcome, fields) for outcome in (_TRAIN, _VAL))
    table = one_table([train, val])
    caption = [
        "Fidelity on validation images against fidelity on the training stream, after the last epoch. Above the grey "
        "line a student agrees more with its teachers on images that it has not seen.",
        f"A larger marker is a higher augmentation strength, from {_lowest(train):g} to {_lowest(train, last=True):g}.",
        *seeds_and_intervals(table, "Markers", "", "bars"),
        *dict.fromkeys([*train.remarks, *val.remarks]),
    ]
    return Drawing([partial(_draw, train, val)], {"": table}, caption, shape=0.9)


def _lowest(lines: Lines, *, last: bool = False) -> float:
    levels = sorted(row[lines.fields.x] for line in lines.lines for row in line.rows)
    return float(levels[-1 if last else 0])


def _draw(train: Lines, val: Lines, axes: "Axes") -> None:
    field = train.fields.x
    low, high = _lowest(train), _lowest(train, last=True)
    others = {line.label: {row[field]: row for row in line.rows} for line in val.lines}
    for line in train.lines:
        pairs = [(row, others[line.label][row[field]]) for row in line.rows if row[field] in others.get(line.label, {})]
        x, y = [row["mean"] for row, _ in pairs], [row["mean"] for _, row in pairs]
        color, marker, dashes = line.look
        for row, other in pairs:
            if (ends := drawn_interval(row, _TRAIN)) is not None:
                axes.plot(ends, [other["mean"]] * 2, color=color, linewidth=0.5)
            if (ends := drawn_interval(other, _VAL)) is not None:
                axes.plot([row["mean"]] * 2, ends, color=color, linewidth=0.5)
        areas = [_SMALLEST + (_LARGEST - _SMALLEST) * (row[field] - low) / ((high - low) or 1) for row, _ in pairs]
        axes.plot(x, y, color=color, linestyle=dashes, linewidth=0.7)
        axes.scatter(x, y, s=areas, color=[color], marker=marker, label=line.label, zorder=3, linewidths=0)
    start = max(axes.get_xlim()[0], axes.get_ylim()[0])
    axes.axline((start, start), slope=1, color="0.6", linewidth=0.6, zorder=0)
    axes.set_xlabel(axis_label(_TRAIN))
    axes.set_ylabel(axis_label(_VAL))


TRAIN_AGAINST_VAL = FigureKind(
    "train_against_val",
    "Training and validation fidelity",
    "Fidelity on validation images against fidelity on training images, a marker for each setting.",
    ("dose_response",),
    _read,
)

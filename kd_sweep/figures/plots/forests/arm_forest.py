"""The forest plot of arms: what outcomes change by from the usual arm to each control arm or view, with intervals."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from kd_sweep.analysis.trial_settings import ALPHA, CONTROL, EPOCHS, LOSS, VIEW
from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.axis_words import words
from kd_sweep.figures.plots.figure_kind import Drawing, FigureKind
from kd_sweep.figures.plots.forests.forest_rows import (
    FRAME_MM,
    ROW_MM,
    chosen_outcomes,
    draw_changes,
    name_rows,
    of_trials,
)
from kd_sweep.figures.plots.lines import Row, evenly, seeds_and_intervals
from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OUTCOMES = ("val_accuracy", "generalization_gap", "fidelity_val", "attention_overlap_student")
_MOST_ROWS = 12
_RESAMPLES = 100
_RESAMPLED = ("low", "high", "note")
"""Columns of the bootstrap, which are not drawn."""
_NO_ARMS = "no two arms of the study differ in their teachers alone, or in that there are any"


def _read(results: Results, metric: str | None) -> Drawing:
    if not {LOSS, ALPHA, CONTROL, VIEW, EPOCHS} & {*results.table("trials").column_names}:
        raise QueryError(_NO_ARMS)  # before anything is analysed
    from kd_sweep.analysis.effects import effects_table
    from kd_sweep.analysis.sample import read_sample
    from kd_sweep.analysis.study_analysis import pooled_contrasts
    from kd_sweep.statistics.intervals import Bootstrap

    sample = read_sample(results)
    outcomes = chosen_outcomes(sample, metric, _OUTCOMES)
    effects = effects_table(sample, outcomes, Bootstrap(resamples=_RESAMPLES))
    table = pooled_contrasts(effects).drop_columns(list(_RESAMPLED))
    drawn = table.filter(pc.is_valid(table["estimate"]))
    rows = drawn.to_pylist()
    if not rows:
        raise QueryError(_NO_ARMS)
    of_outcomes: dict[str, list[Row]] = {}
    for row in rows:
        of_outcomes.setdefault(row["outcome"], []).append(row)
    most = max(map(len, of_outcomes.values()))
    caption = [
        "What an outcome changes by from one arm to another with equal strengths, size and other fields, paired by "
        "seed, in the outcome's own unit. The grey line is no change.",
        *seeds_and_intervals(drawn, "Markers", "", "bars"),
        *([] if drawn["t_low"].null_count == len(rows) else ["Intervals are not corrected for how many there are."]),
        *([f"Drawn are {_MOST_ROWS} of {most} pairs of arms, evenly chosen."] if most > _MOST_ROWS else []),
        of_trials(sample),
    ]
    panels = [partial(_draw, evenly(of_outcome, _MOST_ROWS)) for of_outcome in of_outcomes.values()]
    height_mm = FRAME_MM + ROW_MM * min(most, _MOST_ROWS)
    return Drawing(panels, {"": table}, caption, height_mm=height_mm, is_wide=True)


def _draw(rows: Sequence[Row], axes: "Axes") -> None:
    draw_changes(rows, axes)
    maps = {row["attention_maps"] for row in rows}
    labels = [row["distillation_loss"].replace("_", " ") for row in rows]
    if len(maps) > 1:
        labels = [f"{label} ({row['attention_maps']})" for label, row in zip(labels, rows, strict=True)]
    name_rows(labels, axes)
    axes.set_title(words(rows[0]["outcome"]))
    axes.set_xlabel("Change")


ARM_FOREST = FigureKind(
    "arms",
    "Arms",
    "What outcomes change by from the usual arm to each control arm or view, with intervals.",
    ("analyse",),
    _read,
    takes_metric=True,
)

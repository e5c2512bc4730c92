"""The figure of variance components: how far the seeds of each level alone spread an outcome."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from kd_sweep.analysis.trial_settings import SIZE, STRENGTH, STUDENT
from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.axis_words import value_label, words
from kd_sweep.figures.plots.figure_kind import Drawing, FigureKind
from kd_sweep.figures.plots.forests.forest_rows import FRAME_MM, chosen_outcomes, name_rows, of_trials
from kd_sweep.figures.plots.lines import Key, Row, evenly, span
from kd_sweep.figures.plots.looks import Look, looks
from kd_sweep.study.trial import SEED_LEVELS
from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OUTCOMES = (
    *("val_accuracy", "generalization_gap", "fidelity_train", "fidelity_val"),
    *("attention_overlap_student", "ece"),
)
"""Shares, so that one axis fits all of them."""
_CONFIDENCE = 0.95
_LEVELS = {
    "seed": "seed: teachers, and what is not held",
    "student_order_seed": "order of images",
    "student_initialisation_seed": "initial weights",
    "student_augmentation_seed": "augmentation",
    "rest": "rest: these together",
}
_SETTING = (STRENGTH, STUDENT, SIZE, "other_fields")
_MAX_PANELS = 3
_LEVEL_MM, _GAP_MM = 1.9, 1.6


def _read(results: Results, metric: str | None) -> Drawing:
    if not {*SEED_LEVELS} & {*results.table("trials").column_names}:
        raise QueryError(f"the study searches no seed of its students, such as {SEED_LEVELS[0]}")
    from kd_sweep.analysis.sample import read_sample
    from kd_sweep.analysis.seed_components import components_table

    sample = read_sample(results)
    outcomes = chosen_outcomes(sample, metric, _OUTCOMES)
    table = components_table(sample, outcomes, _CONFIDENCE)
    rows = table.filter(pc.is_valid(table["variance"])).to_pylist()
    if not rows:
        raise QueryError("at no setting is every combination of the seeds that differ completed")
    settings = list(dict.fromkeys(map(_setting, rows)))
    drawn = evenly(settings, _MAX_PANELS)
    varied = [index for index in range(len(_SETTING)) if len({setting[index] for setting in settings}) > 1]
    own = {setting: [row for row in rows if _setting(row) == setting] for setting in drawn}
    levels = [level for level in _LEVELS if any(row["level"] == level for row in rows)]
    panels = [partial(_draw, own[setting], levels, _title(setting, varied)) for setting in drawn]
    most = max(len({row["outcome"] for row in of_setting}) for of_setting in own.values())
    caption = [
        "How far the seeds of a level alone spread an outcome: the standard deviation that it adds to a single trial "
        "(analysis of variance), in the outcome's own unit. An open marker at 0 is an estimate of nothing or less.",
        f"Each setting has n = {span(row['num_trials'] for row in rows)} trials.",
        *_intervals(rows),
        *(
            [f"Drawn are {_MAX_PANELS} of {len(settings)} settings, evenly chosen."]
            if len(drawn) < len(settings)
            else []
        ),
        *(
            ["Left out are outcomes of settings where some combination of seeds is not completed."]
            if table["variance"].null_count
            else []
        ),
        of_trials(sample),
    ]
    height_mm = FRAME_MM + most * (_GAP_MM + _LEVEL_MM * len(levels))
    return Drawing(panels, {"": table}, caption, height_mm=height_mm, is_wide=True)


def _setting(row: Row) -> Key:
    return tuple(row[name] for name in _SETTING)


def _title(setting: Key, varied: Sequence[int]) -> str:
    """Return what sets a setting apart from the others; empty where there is one alone."""
    parts = [(_SETTING[index], setting[index]) for index in varied if setting[index] not in (None, "")]
    return ", ".join(value if name == "other_fields" else value_label(name, value) for name, value in parts)


def _intervals(rows: Sequence[Row]) -> list[str]:
    has_interval = [row["low"] is not None for row in rows]
    if not any(has_interval):
        return ["There are no bars: where several levels vary, a component has no interval."]
    return ["Bars are 95 % intervals (χ², normal values), where one level varies alone."]


def _draw(rows: Sequence[Row], levels: Sequence[str], title: str, axes: "Axes") -> None:
    outcomes = list(dict.fromkeys(row["outcome"] for row in rows))
    of_levels = dict(zip(levels, looks(max(len(levels), 2)), strict=False))
    axes.axvline(0, color="0.6", linewidth=0.6, zorder=0)
    share = _LEVEL_MM / (_GAP_MM + _LEVEL_MM * len(levels))
    for level, look in of_levels.items():
        for row in (row for row in rows if row["level"] == level):
            height = outcomes.index(row["outcome"]) + share * (levels.index(level) - (len(levels) - 1) / 2)
            _draw_component(row, height, look, axes)
        axes.plot([], [], look.marker, color=look.color, label=_LEVELS[level])
    name_rows([words(outcome) for outcome in outcomes], axes)
    if title:
        axes.set_title(title)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("Standard deviation of one trial by the level")


def _draw_component(row: Row, height: float, look: Look, axes: "Axes") -> None:
    if row["low"] is not None:
        ends = [row["low"] ** 0.5, row["high"] ** 0.5]
        axes.plot(ends, [height, height], color=look.color, gid="interval")
    filled = look.color if row["variance"] > 0 else "white"
    axes.plot([row["std"]], [height], look.marker, color=look.color, markerfacecolor=filled, gid=row["level"])


VARIANCE_ROWS = FigureKind(
    "components",
    "Variance by seeds",
    "How far the teachers' seed, and the student's order, initial weights and augmentation, each spread an outcome.",
    ("analyse",),
    _read,
    takes_metric=True,
)

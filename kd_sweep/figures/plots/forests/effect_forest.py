"""Two forest plots of the analysis: effects with intervals, and the strength at which each outcome is farthest."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from kd_sweep.analysis.trial_settings import BOTH, DIMENSIONS, SIZE, STRENGTH, STUDENT
from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.axis_words import words
from kd_sweep.figures.plots.figure_kind import Drawing, FigureKind
from kd_sweep.figures.plots.forests.forest_rows import FRAME_MM, ROW_MM, draw_changes, name_rows, of_trials
from kd_sweep.figures.plots.lines import Row, seeds_and_intervals
from kd_sweep.figures.plots.looks import looks
from kd_sweep.statistics.intervals import MIN_CLUSTERS
from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from kd_sweep.analysis.study_analysis import Analysis

_OUTCOMES = (
    *("val_accuracy", "train_accuracy", "generalization_gap"),
    *("fidelity_train", "fidelity_val", "fidelity_val_augmented"),
    *("attention_overlap_teachers", "attention_overlap_student"),
    *("ece", "teacher_accuracy", "ensemble_accuracy", "diversity_teachers"),
)
"""Shares, so that one axis fits all of them."""
_RESAMPLES = 100
_RESAMPLED = ("low", "high", "note")
"""Columns of the bootstrap, which are not drawn."""
_ARM = ("distillation_loss", "attention_maps")
_MOST_SIDE_BY_SIDE = 2
"""Panels: beside three columns of labels there is no room for values."""
_NAMES = {STRENGTH: "strength", STUDENT: "student's strength", BOTH: "strength of both", SIZE: "number of teachers"}


def _analysed(results: Results, outcomes: Sequence[str]) -> "Analysis":
    from kd_sweep.analysis.study_analysis import analyse

    # Bootstrap intervals are not drawn: those of Student's t, and the range of the best strength, resample nothing.
    return analyse(results, outcomes=outcomes, resamples=_RESAMPLES)


def _known(results: Results, outcomes: Sequence[str]) -> list[str]:
    """Return those of the outcomes that completed trials have."""
    from kd_sweep.analysis.sample import read_sample

    known = read_sample(results).outcomes
    return [name for name in outcomes if name in known]


def _read_effects(results: Results, metric: str | None) -> Drawing:
    from kd_sweep.analysis.study_analysis import pooled_effects

    analysis = _analysed(results, [metric] if metric else _known(results, _OUTCOMES))
    table = pooled_effects(analysis.effects).drop_columns(list(_RESAMPLED))
    drawn = table.filter(pc.is_valid(table["estimate"]))
    rows = drawn.to_pylist()
    if not rows:
        raise QueryError("no two settings differ in strength or ensemble size alone")
    names = _NAMES | ({STRENGTH: "teachers' strength"} if STUDENT in analysis.sample.dimensions else {})
    by_varied = {name: found for name in DIMENSIONS if (found := [row for row in rows if row["varied"] == name])}
    panels = [partial(_draw_effects, found, names[name]) for name, found in by_varied.items()]
    named = " or ".join(names[name].replace("strength", "augmentation strength", 1) for name in by_varied)
    caption = [
        f"What outcomes change by from the lowest to the highest {named}, paired by seed, in the outcome's own unit. "
        "The grey line is no change.",
        *seeds_and_intervals(drawn, "Markers", "", "bars"),
        *(
            []
            if drawn["t_low"].null_count == drawn.num_rows
            else ["Intervals are not corrected for how many there are."]
        ),
        of_trials(analysis.sample),
    ]
    heights_mm = [FRAME_MM + ROW_MM * len(found) for found in by_varied.values()]
    is_wide = len(panels) > _MOST_SIDE_BY_SIDE
    return Drawing(panels, {"": table}, caption, height_mm=max(heights_mm), heights_mm=heights_mm, is_wide=is_wide)


def _read_best(results: Results, _: str | None) -> Drawing:
    analysis = _analysed(
        results, _known(results, _OUTCOMES)[:1]
    )  # verdicts are of all outcomes, whatever the effects are of
    rows = [row for row in analysis.verdicts.to_pylist() if row["best_level"] is not None]
    if not rows:
        raise QueryError("no claim of the paper could be tested at two strengths")
    table = analysis.verdicts.filter(pc.is_valid(analysis.verdicts["best_level"])).drop_columns(["low", "high"])
    caption = [
        "The strength at which each outcome is farthest in the direction that the paper claims (arXiv 2405.00739).",
        *_ranges(rows, f"{100 * analysis.bootstrap.confidence:g} %"),
        "A filled circle is a supported claim, a cross a refuted one, an open circle one that is undecided or mixed.",
        of_trials(analysis.sample),
    ]
    levels = analysis.sample.levels(STRENGTH)
    panel = partial(_draw_best, rows, (levels[0], levels[-1]))
    return Drawing([panel], {"": table}, caption, height_mm=FRAME_MM + ROW_MM * len(rows))


def _draw_effects(rows: Sequence[Row], name: str, axes: "Axes") -> None:
    draw_changes(rows, axes)
    first = rows[0]
    name_rows(_labels(rows), axes)
    axes.set_title(f"{name[:1].upper()}{name[1:]} {first['from_level']:g} to {first['to_level']:g}")
    axes.set_xlabel("Change")


def _draw_best(rows: Sequence[Row], searched: tuple[float, float], axes: "Axes") -> None:
    dark, _ = looks(2)
    for number, row in enumerate(rows):
        if row["best_low"] is not None:
            axes.plot([row["best_low"], row["best_high"]], [number, number], color=dark.color, gid="interval")
        filled = {"supported": dark.color, "refuted": dark.color}.get(row["verdict"], "white")
        marker = "X" if row["verdict"] == "refuted" else "o"
        axes.plot(
            [row["best_level"]], [number], marker, color=dark.color, markerfacecolor=filled, markersize=4.5, gid="best"
        )
    name_rows(_labels(rows), axes)
    room = 0.04 * (searched[1] - searched[0])
    axes.set_xlim(searched[0] - room, searched[1] + room)  # all strengths, wherever the best ones are
    axes.set_xlabel("Augmentation strength")


def _labels(rows: Sequence[Row]) -> list[str]:
    """Return the outcome of each row, and the loss or maps where rows differ in nothing else."""
    telling = [name for name in _ARM if len({row[name] for row in rows} - {None}) > 1]
    labels = []
    for row in rows:
        arm = [str(row[name]) for name in telling if row[name] is not None]
        labels.append(words(row["outcome"]) + (f" ({', '.join(arm)})" if arm else ""))
    return labels


def _ranges(rows: Sequence[Row], confidence: str) -> list[str]:
    """Return how many seeds a best strength goes by, and what its bar is."""
    low, high = (pick(row["num_seeds"] for row in rows) for pick in (min, max))
    if high == 1:
        return ["Markers go by a single seed (n = 1), so there is no range."]
    means = (
        f"Markers go by means over {low} to {high} seeds" if low < high else f"Markers go by means over {high} seeds"
    )
    if all(row["best_low"] is None for row in rows):
        return [f"{means}. There are no bars: a range needs {MIN_CLUSTERS} seeds that have every strength."]
    return [
        f"{means}; bars are {confidence} ranges, each on its own: the strengths that no other one surpasses (t tests "
        "over seeds)."
    ]


EFFECTS = FigureKind(
    "effects",
    "Effects",
    "What outcomes change by from the lowest to the highest strength and ensemble size, with intervals.",
    ("analyse",),
    _read_effects,
    takes_metric=True,
)
BEST_STRENGTH = FigureKind(
    "best_strength",
    "Best strength",
    "The strength at which each outcome of the paper's claims is farthest in their direction, with its range.",
    ("analyse",),
    _read_best,
)

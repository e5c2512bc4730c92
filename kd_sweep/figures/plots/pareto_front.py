"""The figure of two objectives against each other: the trials that no other beats, and what they dominate."""

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.axis_words import axis_label, in_a_sentence
from kd_sweep.figures.plots.figure_kind import Drawing, FigureKind
from kd_sweep.figures.plots.lines import Row, said_of
from kd_sweep.figures.plots.looks import RASTER_FROM, looks
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import FINISHED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_OBJECTIVES = 3
"""A panel for each pair: more than three pairs fit on no column."""
_IS_ON_FRONT = "is_on_front"
_AIMS = {"max": "high", "min": "low"}


def _read(results: Results, _: str | None) -> Drawing:
    ((study, objectives),) = results.objectives().items()
    modes = {objective["metric"]: objective["mode"] for objective in objectives}
    if not 2 <= len(modes) <= _MOST_OBJECTIVES:
        named = ", ".join(modes)
        raise QueryError(f"{study} has {len(modes)} objective{'s' * (len(modes) > 1)} ({named}); 2 or 3 can be drawn")
    front = answer(results, "pareto")
    if front.num_rows == 0:
        raise QueryError("no finished trial has a value of every objective")
    others = answer(results, "parallel", {"outcomes": list(modes)})
    ids = set(front["trial_id"].to_pylist())
    rows = [{**row, _IS_ON_FRONT: True} for row in front.to_pylist()]
    rows += [
        {**row, _IS_ON_FRONT: False}
        for row in others.to_pylist()
        if row["trial_id"] not in ids and row["status"] in FINISHED and None not in [row[name] for name in modes]
    ]
    columns = [name for name in front.column_names if name != "study"]
    table = pa.Table.from_pylist([{name: row.get(name) for name in (*columns, _IS_ON_FRONT)} for row in rows])
    wanted = [f"{in_a_sentence(name)} is to be {_AIMS[mode]}" for name, mode in modes.items()]
    caption = [
        f"Finished trials by their objectives, after the last epoch: {'; '.join(wanted)}.",
        f"Each marker is one trial (n = {len(rows)}, no intervals). Large are the {front.num_rows} that no other "
        "beats: no trial is as good in every objective and better in one.",
        "The shaded area is what they dominate." if len(modes) == 2 else "Each panel shows two of the objectives.",
        *said_of(others),
    ]
    panels = [partial(_draw, rows, modes, pair) for pair in itertools.combinations(modes, 2)]
    return Drawing(panels, {"": table}, caption, shape=0.8)


def _draw(rows: Sequence[Row], modes: Mapping[str, str], pair: tuple[str, str], axes: "Axes") -> None:
    first, second = pair
    dark, _ = looks(2)
    best = sorted((row[first], row[second]) for row in rows if row[_IS_ON_FRONT])
    rest = [(row[first], row[second]) for row in rows if not row[_IS_ON_FRONT]]
    if rest:
        x, y = zip(*rest, strict=True)
        axes.scatter(
            x, y, s=6, color="0.6", linewidths=0, rasterized=len(rest) >= RASTER_FROM, label="dominated trials"
        )
    x, y = zip(*best, strict=True)
    axes.scatter(x, y, s=20, color=[dark.color], marker=dark.marker, label="Pareto front", zorder=3)
    if len(modes) == 2:
        _shade(axes, best, modes[first], modes[second])
    axes.set_xlabel(axis_label(first))
    axes.set_ylabel(axis_label(second))


def _shade(axes: "Axes", front: Sequence[tuple[float, float]], first: str, second: str) -> None:
    """Shade what the front dominates, as far as the axes go; ``front`` rises in the first objective."""
    axes.margins(0.08)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    worst_x, worst_y = (left if first == "max" else right), (bottom if second == "max" else top)
    # From the worst of the first objective to its best, the second gets worse.
    ordered = list(front) if first == "max" else list(front)[::-1]
    steps = [(worst_x, ordered[0][1])]
    for (best_x, best_y), (_, following) in zip(ordered, [*ordered[1:], (0.0, worst_y)], strict=True):
        steps += [(best_x, best_y), (best_x, following)]
    x, y = zip(*steps, strict=True)
    axes.plot(x, y, color="0.3", linewidth=0.7, zorder=1, gid="front")
    axes.fill([*x, worst_x], [*y, worst_y], color="0.5", alpha=0.12, linewidth=0, zorder=0)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


PARETO = FigureKind(
    "pareto",
    "Pareto front",
    "The objectives of a study with several against each other, the trials that no other beats, what they dominate.",
    ("pareto", "parallel"),
    _read,
)

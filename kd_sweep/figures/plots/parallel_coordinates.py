"""The figure of parallel coordinates: searched fields and outcomes side by side, a line for each trial."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from textwrap import fill
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.analysis.wording import listed
from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.axis_words import in_a_sentence, words
from kd_sweep.figures.plots.figure_kind import Drawing, FigureKind
from kd_sweep.figures.plots.lines import said_of
from kd_sweep.figures.plots.looks import RASTER_FROM
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.setting_columns import searched_fields
from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NO_AXES = ("study", "rank", "num_trials", "trial_id", "status")
_DECADES = 50.0
"""A field of positive numbers whose largest is so many times its smallest has a logarithmic axis."""
_MOST_AXES = 9
_MOST_TICKS = 6
_LABEL_WIDTH = 16
"""Characters of a line of an axis's name."""
_NONE = -0.12
"""Where trials that have no value of a field cross its axis: below it."""


@dataclass(frozen=True)
class Coordinate:
    """One of the axes: where its values are, from 0 to 1, and which are named."""

    name: str
    heights: Sequence[float]
    """Of each trial."""
    ticks: Sequence[tuple[float, str]]


def _read(results: Results, metric: str | None) -> Drawing:
    ((_, (objective, *_)),) = results.objectives().items()
    colored = metric or objective["metric"]
    view = answer(results, "parallel", {"outcomes": [colored]} if metric else {})
    finite = view.filter(pc.is_finite(pc.cast(view[colored], pa.float64())))
    if finite.num_rows < 2:
        raise QueryError(f"fewer than two trials have a value of {colored}")
    varying = [
        name for name in finite.column_names if name not in (*_NO_AXES, colored) and len(pc.unique(finite[name])) > 1
    ]
    # The outcome that colours the lines is the last axis, which so is the scale of the colours.
    shown = [*varying[: _MOST_AXES - 1], colored]
    columns = {name: [_known(value) for value in finite[name].to_pylist()] for name in shown}
    left_out = [in_a_sentence(name) for name in varying[_MOST_AXES - 1 :]]
    searched = searched_fields(results)
    logarithmic = [name for name, values in columns.items() if name in searched and _is_log(values)]
    caption = [
        f"Searched fields and outcomes, a line for each trial (n = {finite.num_rows}, no intervals).",
        f"Colour is {in_a_sentence(colored)}, the last axis: dark is low, light is high.",
        "Each axis goes from the least to the greatest value of a trial.",
        *([f"Axes of {listed(list(map(in_a_sentence, logarithmic)))} are logarithmic."] if logarithmic else []),
        *(["Trials without a value cross the axis below it."] if any(None in one for one in columns.values()) else []),
        *([f"There is no room for {listed(left_out)}."] if left_out else []),
        *said_of(view),
    ]
    table = finite.select([name for name in finite.column_names if name in (*_NO_AXES, *shown)])
    panel = partial(_draw, [coordinate(name, values, is_log=name in logarithmic) for name, values in columns.items()])
    return Drawing([panel], {"": table}, caption, shape=0.8, is_wide=True)


def _known(value: Any) -> Any:
    """Return the value; None for one that is no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def coordinate(name: str, values: Sequence[Any], *, is_log: bool) -> Coordinate:
    """Return the axis of a field or outcome; null is below it."""
    known = [value for value in values if value is not None]
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
    distinct = sorted(set(known)) if is_number else sorted(set(map(str, known)))
    if is_number:
        scale: Callable[[Any], float] = math.log10 if is_log else float
        low, high = scale(distinct[0]), scale(distinct[-1])
        at = {value: (scale(value) - low) / (high - low) if high > low else 0.5 for value in distinct}
        named = distinct if len(distinct) <= _MOST_TICKS else [distinct[0], distinct[-1]]
        ticks = [(at[value], f"{value:.3g}") for value in named]
        heights = [_NONE if value is None else at[value] for value in values]
    else:
        at = {value: index / max(len(distinct) - 1, 1) for index, value in enumerate(distinct)}
        ticks = [(at[value], value) for value in distinct]
        heights = [_NONE if value is None else at[str(value)] for value in values]
    if len(known) < len(values):
        ticks = [(_NONE, "-"), *ticks]
    return Coordinate(name, heights, ticks)


def _is_log(values: Sequence[Any]) -> bool:
    known = [value for value in values if isinstance(value, float)]
    return len(known) > 2 and min(known) > 0 and max(known) / min(known) >= _DECADES


def _draw(coordinates: Sequence[Coordinate], axes: "Axes") -> None:
    from matplotlib import colormaps
    from matplotlib.collections import LineCollection

    colored = coordinates[-1].heights
    order = sorted(range(len(colored)), key=colored.__getitem__)  # the best lie on top where more is better
    paths = [[(index, one.heights[trial]) for index, one in enumerate(coordinates)] for trial in order]
    colors = [colormaps["viridis"](0.92 * colored[trial]) for trial in order]
    is_raster = len(paths) >= RASTER_FROM
    lines = LineCollection(
        paths, colors=colors, linewidths=0.35 if is_raster else 0.7, alpha=0.5 if is_raster else 0.85
    )
    lines.set_rasterized(is_raster)
    axes.add_collection(lines)
    for index, one in enumerate(coordinates):
        axes.axvline(index, color="0.25", linewidth=0.6)
        for height, text in one.ticks:
            axes.plot([index - 0.02, index + 0.02], [height] * 2, color="0.25", linewidth=0.6)
            axes.annotate(
                text,
                (index, height),
                (2.5, 0),
                textcoords="offset points",
                va="center",
                fontsize="small",
                bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.3},
            )
    axes.set_xlim(-0.08, len(coordinates) - 0.55)
    axes.set_ylim(-0.2 if any(_NONE in one.heights for one in coordinates) else -0.05, 1.05)
    labels = [fill(words(one.name), _LABEL_WIDTH) for one in coordinates]
    axes.set_xticks(range(len(coordinates)), labels, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(length=0)


PARALLEL = FigureKind(
    "parallel",
    "Parallel coordinates",
    "Searched fields and outcomes side by side, a line for each trial, coloured by an outcome.",
    ("parallel",),
    _read,
    takes_metric=True,
)

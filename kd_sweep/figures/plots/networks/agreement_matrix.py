"""The figure of how often two networks of a trial have the same top-1 class, as a matrix."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.figure_kind import Drawing, FigureKind
from kd_sweep.figures.plots.lines import SIZE, Key, Row, evenly, fields_over, nobody_has, put_title, said_of, span
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_PANELS = 3
_MAX_SETTINGS = 300
_MOST_NUMBERED = 7
"""Cells of more networks are too small for a number."""


def _read(results: Results, _: str | None) -> Drawing:
    fields = fields_over(results, "", most=_MAX_SETTINGS)
    view = answer(results, "agreement_matrix", {"by": [*fields.lines]})
    if view.num_rows == 0:
        raise QueryError(nobody_has(results, "the agreement of single networks"))
    rows = view.to_pylist()
    size = max(row[SIZE] for row in rows)
    of_keys: dict[Key, list[Row]] = {}
    for row in rows:
        if row[SIZE] == size:
            of_keys.setdefault(fields.key_of(row), []).append(row)
    chosen = evenly(list(of_keys), _MAX_PANELS)
    shown = [row for key in chosen for row in of_keys[key]]
    seeds, trials = (span(row[name] for row in shown) for name in ("num_seeds", "num_trials"))
    caption = [
        "Share of clean validation images on which two networks of a trial have the same top-1 class, after the last "
        f"epoch; ensembles of {size} teacher{'s' * (size > 1)}, the most of the study.",
        f"Cells are means over {seeds} seed{'s' * (seeds != '1')} (n = {trials} trial{'s' * (trials != '1')} a panel), "
        "without intervals. Lighter is more; all panels have one scale, from the least value to 1.",
        *(
            [f"Drawn are {len(chosen)} of {len(of_keys)} settings, evenly chosen."]
            if len(chosen) < len(of_keys)
            else []
        ),
        *fields.remarks,
        *said_of(view),
    ]
    least = min(row["mean"] for row in shown)
    panels = [partial(_draw, of_keys[key], fields.label_of(key), least) for key in chosen]
    return Drawing(panels, {"": pa.Table.from_pylist(shown, view.schema)}, caption, shape=0.85)


def _draw(rows: Sequence[Row], title: str, least: float, axes: "Axes") -> None:
    names = list(dict.fromkeys([*(row["second"] for row in rows if row["first"] == "student"), "student"]))
    matrix = np.full((len(names), len(names)), np.nan)
    for row in rows:
        one, other = sorted((names.index(row["first"]), names.index(row["second"])))
        matrix[other, one] = row["mean"]
    # Not an image: cells stay sharp at every size.
    cells = axes.pcolormesh(np.ma.masked_invalid(matrix), cmap="viridis", vmin=min(least, 0.999), vmax=1.0)
    axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=45, ha="right")
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    axes.set_xlim(0, len(names) - 1)
    axes.set_ylim(len(names), 1)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    put_title(axes, title)
    if len(names) > _MOST_NUMBERED:
        axes.figure.colorbar(cells, ax=axes)
        return
    for (row_index, column), value in np.ndenumerate(matrix):
        if not np.isnan(value):
            red, green, blue, _ = cells.to_rgba(value)
            ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
            axes.text(column + 0.5, row_index + 0.5, f"{value:.2f}", ha="center", va="center", color=ink)


AGREEMENT_MATRIX = FigureKind(
    "agreement_matrix",
    "Agreement of single networks",
    "How often each pair of teachers, and the student and each teacher, have the same class.",
    ("agreement_matrix",),
    _read,
)

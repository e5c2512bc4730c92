"""The figure of augmentations by affinity and diversity, coloured by accuracy relative to clean images."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.axis_words import in_a_sentence
from kd_sweep.figures.plots.figure_kind import DEFAULT_METRIC, Drawing, FigureKind
from kd_sweep.figures.plots.lines import SIZE, Row, fields_over, nobody_has, said_of, span
from kd_sweep.figures.plots.looks import looks
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST = 200


def _read(results: Results, metric: str | None) -> Drawing:
    outcome = metric or DEFAULT_METRIC
    fields = fields_over(results, "", most=_MOST)
    view = answer(results, "affinity_plane", {"outcome": outcome, "by": [*dict.fromkeys([SIZE, *fields.lines])]})
    if view.num_rows == 0:
        raise QueryError(
            nobody_has(results, f"affinity, diversity and {outcome}; metrics.affinity asks for the first two")
        )
    rows = [row for row in view.to_pylist() if row["relative"] is not None]
    if not rows:
        raise QueryError(
            "no trial without augmentation, at strength 0, is completed, and accuracy is relative to those"
        )
    seeds, pairs = (span(row[name] for row in rows) for name in ("num_seeds", "num_pairs"))
    left_out = view.num_rows - len(rows)
    caption = [
        "Affinity (how far an augmentation leads away from the clean images) and diversity (how much harder it makes "
        f"them to learn), coloured by {in_a_sentence(outcome)} less that of the same trials at strength 0.",
        f"A marker is a setting: means over {seeds} seed{'s' * (seeds != '1')} without intervals; the difference "
        f"is of n = {pairs} pair{'s' * (pairs != '1')} of one seed. Affinity and diversity are of the first teacher.",
        *([f"Left out: {left_out} setting{'s' * (left_out > 1)} without a trial at strength 0."] if left_out else []),
        *fields.remarks,
        *said_of(view),
    ]
    table = pa.Table.from_pylist(rows, view.schema)
    return Drawing([partial(_draw, rows, outcome)], {"": table}, caption, shape=0.8)


def _draw(rows: Sequence[Row], outcome: str, axes: "Axes") -> None:
    sizes = sorted({row[SIZE] for row in rows})
    low, high = min(row["relative"] for row in rows), max(row["relative"] for row in rows)
    for size, (_, marker, _) in zip(sizes, looks(len(sizes)), strict=True):
        own = [row for row in rows if row[SIZE] == size]
        points = axes.scatter(
            [row["affinity"] for row in own],
            [row["diversity"] for row in own],
            c=[row["relative"] for row in own],
            cmap="viridis",
            vmin=low,
            vmax=high,
            marker=marker,
            s=22,
            edgecolors="0.2",
            linewidths=0.4,
        )
        # A legend of shapes, which have no colour of their own.
        label = f"{size} teacher{'s' * (size > 1)}"
        axes.scatter([], [], marker=marker, s=22, facecolors="none", edgecolors="0.2", linewidths=0.6, label=label)
    axes.figure.colorbar(points, ax=axes, label=f"Relative {in_a_sentence(outcome)}")
    axes.set_xlabel("Affinity")
    axes.set_ylabel("Diversity")


AFFINITY_PLANE = FigureKind(
    "affinity_plane",
    "Affinity and diversity",
    "Augmentations by affinity and diversity, coloured by an outcome relative to clean images.",
    ("affinity_plane",),
    _read,
    takes_metric=True,
)

"""The rows of a forest plot: their height, their labels, and an estimate with its interval in each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kd_sweep.analysis.wording import counted
from kd_sweep.errors import QueryError, alternatives
from kd_sweep.figures.plots.lines import Row
from kd_sweep.figures.plots.looks import looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from kd_sweep.analysis.sample import Sample

ROW_MM, FRAME_MM = 4.4, 17.0


def draw_changes(rows: Sequence[Row], axes: "Axes") -> None:
    """Draw the change in each row with its Student's t interval, and a line at no change."""
    dark, _ = looks(2)
    axes.axvline(0, color="0.6", linewidth=0.6, zorder=0)
    for number, row in enumerate(rows):
        if row["t_low"] is not None:
            axes.plot([row["t_low"], row["t_high"]], [number, number], color=dark.color, gid="interval")
        axes.plot([row["estimate"]], [number], marker="o", color=dark.color, linestyle="none", gid="estimate")


def name_rows(labels: Sequence[str], axes: "Axes") -> None:
    """Write what each row is about, the first at the top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def chosen_outcomes(sample: "Sample", metric: str | None, usual: Sequence[str]) -> list[str]:
    """Return the metric that was asked for, or those of the usual ones that completed trials have.

    Raises:
        QueryError: no completed trial has the metric. One line.
    """
    if metric is None:
        return [name for name in usual if name in sample.outcomes]
    if metric not in sample.outcomes:
        raise QueryError(f"outcome: no completed trial has {metric!r}; {alternatives(metric, sample.outcomes)}")
    return [metric]


def of_trials(sample: "Sample") -> str:
    """Return what a caption says of the trials that count, and of those that do not."""
    left_out = "" if sample.left_out == "none" else f" Left out: {sample.left_out}."
    return f"From {counted(sample.num_completed, 'completed trial')}.{left_out}"

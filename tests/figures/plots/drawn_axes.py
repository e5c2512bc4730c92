"""Figures drawn into axes, to read back what they show, and the Parquet files that they are drawn from."""

import pandas as pd
from matplotlib import pyplot
from matplotlib.axes import Axes

from kd_sweep.figures.plots.drawn_figures import read_figure
from kd_sweep.figures.plots.figure_list import FIGURES
from kd_sweep.handles.study_results import StudyResults


def drawn(study: StudyResults, name: str, metric: str | None = None) -> list[Axes]:
    drawing = read_figure(study, FIGURES[name], metric)
    figure, axes = pyplot.subplots(len(drawing.panels), squeeze=False)
    pyplot.close(figure)
    for draw, one in zip(drawing.panels, axes.flatten(), strict=True):
        draw(one)
    return list(axes.flatten())


def frame(study: StudyResults, table: str) -> pd.DataFrame:
    return pd.read_parquet(f"{study.root}/{table}")


def lines(axes: Axes) -> dict[str, tuple[list[float], list[float]]]:
    """Return x and y of the lines that a legend names."""
    named = [line for line in axes.lines if not str(line.get_label()).startswith("_")]
    return {str(line.get_label()): (list(line.get_xdata()), list(line.get_ydata())) for line in named}

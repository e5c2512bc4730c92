"""The figures of a study as a notebook asks for them: ``study.plot.dose_response()``."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from kd_sweep.figures.plots.drawn_figures import SvgFigure


class StudyPlots:
    """The figures of docs/figures.md of one study; each name of one is a method. To be had of `StudyResults.plot`.

    A method takes ``metric``, where the figure shows one, ``size``, ``style`` and ``ax``, and returns a figure of
    matplotlib's, that a notebook shows and ``savefig`` saves. With ``ax``, axes of your own or as many as the figure
    has panels, it draws into these, in your style.
    """

    def __init__(self, results: Results) -> None:
        self._results = results

    def __getattr__(self, name: str) -> Callable[..., "Figure"]:
        from kd_sweep.figures.plots.figure_list import FIGURES

        if name not in FIGURES:
            raise AttributeError(f"{name!r} is no figure; possible: {', '.join(FIGURES)}")

        def draw(ax: "Axes | Sequence[Axes] | None" = None, **options: Any) -> "Figure":
            from kd_sweep.figures.plots.drawn_figures import FigureOptions, draw_figure

            return draw_figure(self._results, FIGURES[name], FigureOptions(**options), ax)

        draw.__name__, draw.__doc__ = name, FIGURES[name].shows
        return draw

    def __dir__(self) -> list[str]:
        from kd_sweep.figures.plots.figure_list import FIGURES

        return sorted({*super().__dir__(), *FIGURES})

    def svg(self, name: str, **options: Any) -> "SvgFigure":
        """Return a figure as text for a page, ``svg``, with its ``caption``, and ``tables``, all that it draws.

        Raises:
            QueryError: no figure of this name, or the study has none; one line says why.
        """
        from kd_sweep.figures.plots.drawn_figures import FigureOptions, svg_figure

        return svg_figure(self._results, name, FigureOptions(**options))

"""Figures as matplotlib draws them: for paper, for pages as SVG, and into axes of a user's own."""

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from kd_sweep.errors import QueryError, UserError, alternatives
from kd_sweep.figures.plots.figure_kind import Drawing, FigureKind
from kd_sweep.figures.plots.figure_list import figure_kinds
from kd_sweep.figures.plots.looks import SIZES_MM, Page, page, style
from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

FORMATS = ("pdf", "svg", "png")
DPI = (50, 1200)
METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "Creator": "kd_sweep", "Producer": None},
    "svg": {"Date": None, "Creator": "kd_sweep"},
    "png": {"Software": None},
}
"""Without times and versions: equal rows give equal bytes."""


@dataclass(frozen=True)
class FigureOptions:
    """How figures are drawn.

    Raises:
        QueryError: a size or format that there is not, or a resolution out of range. One line.
    """

    metric: str | None = None
    """Of the figures that take one; the usual one when None."""
    formats: Sequence[str] = ("pdf", "png")
    size: str = "one-column"
    dpi: int = 300
    """Of PNG, and of what is drawn as pixels in the others."""
    style: Path | None = None
    """A style file of matplotlib's, over the project's own style."""

    def __post_init__(self) -> None:
        for name in self.formats:
            if name not in FORMATS:
                raise QueryError(f"--format: {name!r} is no format of figures; {alternatives(name, FORMATS)}")
        if self.size not in SIZES_MM:
            raise QueryError(f"--size: {self.size!r} is no size of figures; {alternatives(self.size, SIZES_MM)}")
        if not DPI[0] <= self.dpi <= DPI[1]:
            raise QueryError(f"--dpi: {self.dpi} is not from {DPI[0]} to {DPI[1]}")


@dataclass(frozen=True)
class SvgFigure:
    """A figure for a page."""

    svg: str
    """One `<svg>` element without a declaration, whose ids begin with the figure's name."""
    caption: str
    tables: dict[str, pa.Table]
    """All that it draws, as `Drawing.tables`."""


def read_figure(results: Results, kind: FigureKind, metric: str | None = None) -> Drawing:
    """Return what a figure of the one study in ``results`` draws.

    Raises:
        QueryError: this study has no such figure; the line says why. Or the metric is none.
    """
    if metric is not None and not kind.takes_metric:
        raise QueryError(f"{kind.name}: shows metrics of its own, and takes no metric")
    try:
        return kind.read(results, metric)
    except QueryError as error:
        raise QueryError(f"{kind.name}: {error}") from None


def svg_figure(results: Results, name: str, options: FigureOptions | None = None) -> SvgFigure:
    """Return a figure of the one study in ``results`` as SVG, with its caption and the rows that it draws.

    Raises:
        QueryError: there is no figure of this name, or none of this study. One line.
        UserError: matplotlib is not installed. One line.
    """
    options = options or FigureOptions()
    (kind,) = figure_kinds([name])
    drawing = read_figure(results, kind, options.metric)
    return SvgFigure(svg_of(name, drawing, options), " ".join(drawing.caption), dict(drawing.tables))


def svg_of(name: str, drawing: Drawing, options: FigureOptions) -> str:
    """Return a figure as one `<svg>` element without a declaration, whose ids begin with ``name``."""
    svg = rendered(drawing, replace(options, formats=["svg"]))["svg"].decode()
    svg = svg[svg.index("<svg") :]
    # Several figures on one page have glyphs and clippings of their own.
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)


def rendered(drawing: Drawing, options: FigureOptions) -> dict[str, bytes]:
    """Return a figure in each of the formats, by format; the same rows give the same bytes."""
    require_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    files = {}
    with style(options.style):
        paper = page_of(drawing, options)
        figure = Figure(figsize=(paper.width, paper.height), layout="constrained")
        FigureCanvasAgg(figure)
        draw_on(figure, drawing, paper)
        for name in options.formats:
            content = io.BytesIO()
            figure.savefig(content, format=name, dpi=options.dpi, metadata=METADATA[name])
            files[name] = content.getvalue()
    return files


def draw_figure(
    results: Results, kind: FigureKind, options: FigureOptions, axes: "Axes | Sequence[Axes] | None" = None
) -> "Figure":
    """Return a figure of the one study in ``results``, drawn by pyplot so that a notebook shows it.

    Args:
        results: the tables of the study.
        kind: of figure.
        options: how it is drawn.
        axes: to draw into, in the style that is set, as many as the figure has panels; a new figure when None.

    Raises:
        QueryError: the study has no such figure, or ``axes`` are too many or too few. One line.
        UserError: matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib import pyplot

    drawing = read_figure(results, kind, options.metric)
    if axes is None:
        with style(options.style):
            paper = page_of(drawing, options)
            figure = pyplot.figure(figsize=(paper.width, paper.height), layout="constrained")
            draw_on(figure, drawing, paper)
        return figure
    given = list(axes) if isinstance(axes, Iterable) else [axes]
    if len(given) != len(drawing.panels):
        raise QueryError(f"{kind.name}: ax: {len(given)} axes, and the figure has {len(drawing.panels)} panels")
    for draw, one in zip(drawing.panels, given, strict=True):
        draw(one)
    handles = _legend_entries(given)
    if handles:
        given[-1].legend(handles.values(), handles.keys(), loc="upper left", bbox_to_anchor=(1.0, 1.0))
    owner = given[0].get_figure(root=True)
    assert owner is not None
    return owner


def page_of(drawing: Drawing, options: FigureOptions) -> Page:
    """Return how large a figure is on paper and how its panels stand."""
    number = len(drawing.panels)
    return page(
        options.size,
        number,
        shape=drawing.shape,
        height_mm=drawing.height_mm,
        heights_mm=drawing.heights_mm,
        is_wide=drawing.is_wide,
    )


def draw_on(figure: "Figure | SubFigure", drawing: Drawing, paper: Page) -> None:
    """Draw panels and legend into an empty figure whose layout is constrained, or a part of one."""
    ratios = {"height_ratios": paper.ratios}
    axes = figure.subplots(paper.rows, paper.columns, squeeze=False, gridspec_kw=ratios).flatten().tolist()
    for unused in axes[len(drawing.panels) :]:
        figure.delaxes(unused)
    for draw, one in zip(drawing.panels, axes, strict=False):
        draw(one)
    handles = _legend_entries(figure.axes)
    if handles:
        longest = max(map(len, handles))
        columns = max(1, min(len(handles), int(paper.width / (0.45 + 0.048 * longest))))
        figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=columns)


def _legend_entries(axes: Iterable["Axes"]) -> dict[str, Any]:
    """Return what a legend of all panels has, each label once."""
    entries: dict[str, Any] = {}
    # The panel with most lines has them in their order; of equal ones the last, where no chance level is among them.
    found = [one.get_legend_handles_labels() for one in axes][::-1]
    for handles, labels in sorted(found, key=lambda one: -len(one[1])):
        for handle, label in zip(handles, labels, strict=True):
            entries.setdefault(label, handle)
    return entries


def require_matplotlib() -> None:
    """Raise `UserError` in one line where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise UserError(
            "figures need matplotlib, which is not installed; in the checkout: pip install '.[figures]'"
        ) from None

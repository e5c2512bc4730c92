"""The report as one page of HTML, with its figures as SVG in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kd_sweep.errors import UserError
from kd_sweep.figures.plots.drawn_figures import FigureOptions, svg_of
from kd_sweep.figures.report.citations import PAPER, SOFTWARE
from kd_sweep.figures.report.formats.light_svg import lighter
from kd_sweep.figures.report.report_content import ReportContent, ReportFigure
from kd_sweep.figures.report.side_by_side import SideBySide
from kd_sweep.tables.rendering.value_text import escaped
from kd_sweep.version import __version__

if TYPE_CHECKING:
    from jinja2 import Template

_DPI = 150


def html_page(studies: Sequence[ReportContent], together: SideBySide | None, name: str, digest: str) -> bytes:
    """Return the report of studies as HTML.

    Args:
        studies: what the report of each says.
        together: what they have beside each other; None of one alone.
        name: of the study, or of all.
        digest: of the tables.
    """
    page = _template().render(
        studies=studies,
        together=together,
        name=name,
        digest=digest,
        version=__version__,
        svg=_svg,
        citations=(PAPER, SOFTWARE),
    )
    return page.encode()


def _svg(figure: ReportFigure, prefix: str) -> str:
    """Return one element, which needs no escaping, whose ids begin with ``prefix``."""
    return lighter(svg_of(f"{prefix}{figure.name}", figure.drawing, FigureOptions(size="two-columns", dpi=_DPI)))


def require_jinja2() -> None:
    """Raise `UserError` in one line where Jinja2 is not installed."""
    try:
        import jinja2  # noqa: F401
    except ModuleNotFoundError:
        raise UserError(
            "a report needs Jinja2, which is not installed; in the checkout: pip install '.[figures]'"
        ) from None


def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: escaped(value) if type(value) is str else value,
    )
    return environment.get_template("report.html.j2")

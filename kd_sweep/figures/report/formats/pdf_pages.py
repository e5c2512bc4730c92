"""The report as pages of PDF, drawn by matplotlib: text with its own line breaks, tables, a page for each figure."""

import io
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from kd_sweep.figures.plots.drawn_figures import FigureOptions, draw_on, page_of
from kd_sweep.figures.plots.looks import style
from kd_sweep.figures.report.formats.blocks import Block, Facts, Items, Listing, Paragraph, Title
from kd_sweep.figures.report.report_content import ReportFigure
from kd_sweep.figures.report.shown_tables import ShownTable, cell_lines, column_widths
from kd_sweep.tables.rendering.value_text import escaped

if TYPE_CHECKING:
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

_PAGE_PT = (595.3, 841.9)
"""A4, in points, as are all lengths here."""
_MARGIN = 50.0
_WIDTH = _PAGE_PT[0] - 2 * _MARGIN
_LEADING = 1.35
_SANS, _MONO = "DejaVu Sans", "DejaVu Sans Mono"
"""The fonts that come with matplotlib."""
_MONO_SHARE = 0.602
"""Width of every letter of the second, of its size."""
_TABLE_SIZES = (7.0, 6.0, 5.0, 4.2)
_NARROWEST = 14
"""Characters of a column where not all columns fit in any size."""
_GAP = 2
_DPI = 150


class _Line(NamedTuple):
    """A line of text, or a rule where the text is None."""

    text: str | None
    size: float = 8.0
    is_mono: bool = False
    is_bold: bool = False
    indent: float = 0.0
    before: float = 0.0
    """Room above it."""
    keep: int = 0
    """So many lines below it are to be on its page."""


def pdf_pages(blocks: Iterable[Block], marks: str, title: str) -> bytes:
    """Return blocks as PDF; the same blocks give the same bytes.

    Args:
        blocks: of one study, or of several.
        marks: what tells which studies, version and tables the report is of.
        title: of the document.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    about: dict[str, Any] = {"Title": title, "Keywords": marks, "Creator": "kd_sweep"}
    content = io.BytesIO()
    with style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        with PdfPages(content, metadata={**about, "CreationDate": None, "Producer": None}) as pages:
            _write(blocks, pages)
    return content.getvalue()


def _write(blocks: Iterable[Block], pages: "PdfPages") -> None:
    lines: list[_Line] = []
    for block in blocks:
        if isinstance(block, ReportFigure):
            _write_text(lines, pages)
            lines = []
            _write_figure(block, pages)
        else:
            lines += _lines(block)
    _write_text(lines, pages)


def _lines(block: Block) -> Iterator[_Line]:
    match block:
        case Title():
            size = {1: 15.0, 2: 11.0}[block.level]
            yield from _wrapped(block.text, _Line("", size, is_bold=True, before=size, keep=3))
        case Paragraph():
            yield from _wrapped(block.text, _Line("", before=4.0))
        case Items():
            for text in block.texts:
                first, *others = _wrapped(text, _Line("", indent=10.0, before=3.0))
                yield from (first._replace(text=f"· {first.text}", indent=3.0), *others)
        case Facts():
            for name, value in block.rows:
                yield from _wrapped(f"{name}: {value}", _Line("", indent=10.0, before=2.0))
        case Listing():
            most = int(_WIDTH / (6.5 * _MONO_SHARE))
            for line in escaped(block.text).splitlines():
                for part in textwrap.wrap(line, most, subsequent_indent="    ", drop_whitespace=False) or [""]:
                    yield _Line(part, 6.5, is_mono=True)
        case ShownTable():
            yield from _table(block)


def _wrapped(text: str, like: _Line) -> list[_Line]:
    """Return text as lines of the page's width."""
    lines, at = [""], 0.0
    width, space = _WIDTH - like.indent, _text_width(" ", like.size, is_bold=like.is_bold)
    for word in escaped(text).split():
        for part in textwrap.wrap(word, 60) or [word]:
            size = _text_width(part, like.size, is_bold=like.is_bold)
            if lines[-1] and at + space + size > width:
                lines.append("")
                at = 0.0
            at += size + (space if lines[-1] else 0.0)
            lines[-1] = f"{lines[-1]} {part}" if lines[-1] else part
    return [like._replace(text=line, before=like.before * (index == 0)) for index, line in enumerate(lines)]


@lru_cache(50_000)
def _text_width(text: str, size: float, *, is_bold: bool) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(family=_SANS, weight="bold" if is_bold else "normal", size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def _table(table: ShownTable) -> Iterator[_Line]:
    yield from _wrapped(table.caption, _Line("", 7.5, is_bold=True, before=8.0, keep=5))
    rows = [
        [escaped(" ".join(cell.split())) for cell in row] for row in ([one.text for one in table.head], *table.rows)
    ]
    for size in _TABLE_SIZES:
        widths = column_widths(table, int(_WIDTH / (size * _MONO_SHARE)))
        if widths is not None:
            break
    else:
        widths = [_NARROWEST] * len(table.head)
    like = _Line("", size, is_mono=True)
    yield _Line(None, 2.0)
    for index, row in enumerate(rows):
        parts = [cell_lines(cell, width) for cell, width in zip(row, widths, strict=True)]
        for level in range(max(map(len, parts))):
            cells = [
                f"{part[level] if level < len(part) else '':{'>' if head.is_number else '<'}{width}}"
                for part, width, head in zip(parts, widths, table.head, strict=True)
            ]
            yield like._replace(text=(" " * _GAP).join(cells).rstrip())
        if index == 0:
            yield _Line(None, 2.0)
    yield _Line(None, 2.0)
    if table.more:
        yield from _wrapped(f"{table.more}.", _Line("", 7.0))


def _write_text(lines: Sequence[_Line], pages: "PdfPages") -> None:
    figure, at = None, 0.0
    for index, line in enumerate(lines):
        ahead = lines[index : index + 1 + line.keep]
        if figure is None or at - sum(one.before + one.size * _LEADING for one in ahead) < _MARGIN:
            if figure is not None:
                _save(figure, pages)
            figure, at = _blank(), _PAGE_PT[1] - _MARGIN
        at -= line.before + line.size * _LEADING
        _put(figure, line, at)
    if figure is not None:
        _save(figure, pages)


def _put(figure: "Figure", line: _Line, at: float) -> None:
    from matplotlib.lines import Line2D

    if line.text is None:
        ends = [_MARGIN / _PAGE_PT[0], 1 - _MARGIN / _PAGE_PT[0]]
        height = at / _PAGE_PT[1]
        figure.add_artist(Line2D(ends, [height] * 2, color="0.5", linewidth=0.5))
        return
    if line.text.strip():
        figure.text(
            (_MARGIN + line.indent) / _PAGE_PT[0],
            at / _PAGE_PT[1],
            line.text,
            fontsize=line.size,
            family=_MONO if line.is_mono else _SANS,
            weight="bold" if line.is_bold else "normal",
            parse_math=False,
        )


def _write_figure(figure: ReportFigure, pages: "PdfPages") -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    paper = page_of(figure.drawing, FigureOptions(size="two-columns"))
    # The page of a figure is narrower than one of text, by this and by margins.
    narrower = _WIDTH - 0.98 * paper.width * 72
    lines = [*_lines(Title(2, figure.title)), *_wrapped(figure.caption, _Line("", before=4.0, indent=narrower))]
    below = sum(line.before + line.size * _LEADING for line in lines) / 72 + 0.2
    whole = Figure(figsize=(paper.width, paper.height + below), layout="constrained")
    FigureCanvasAgg(whole)
    top, bottom = whole.subfigures(2, 1, height_ratios=[paper.height, below], squeeze=False).flatten()
    draw_on(top, figure.drawing, paper)
    at = below
    for line in lines:
        at -= (line.before + line.size * _LEADING) / 72
        bottom.text(
            0.01,
            at / below,
            line.text,
            fontsize=line.size,
            weight="bold" if line.is_bold else "normal",
            family=_SANS,
            parse_math=False,
        )
    _save(whole, pages)


def _blank() -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_PAGE_PT[0] / 72, _PAGE_PT[1] / 72))
    FigureCanvasAgg(figure)
    return figure


def _save(figure: "Figure", pages: "PdfPages") -> None:
    pages.savefig(figure, dpi=_DPI)  # type: ignore[no-untyped-call]

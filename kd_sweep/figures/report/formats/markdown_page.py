"""The report as Markdown, with tables as GitHub and Pandoc read them, and figures as links to files of `plot`."""

import html
import re
from collections.abc import Iterable, Iterator

from kd_sweep.figures.report.formats.blocks import Block, Facts, Items, Listing, Paragraph, Title
from kd_sweep.figures.report.report_content import ReportFigure
from kd_sweep.figures.report.shown_tables import ShownTable
from kd_sweep.tables.rendering.value_text import escaped

_MARKS = re.compile(r"([\\`*_\[\]|~])")
_BEGINNING = re.compile(r"^(\d*)([#>+-]|(?<=\d)[.)])(?=\s|$)")
"""What would make a heading, a quotation or a list of a line."""


def markdown_page(blocks: Iterable[Block], marks: str) -> bytes:
    """Return blocks as Markdown in UTF-8.

    Args:
        blocks: of one study, or of several.
        marks: what tells which studies, version and tables the report is of.
    """
    lines = [f"<!-- {marks} -->", *(line for block in blocks for line in ("", *_lines(block)))]
    return ("\n".join(lines) + "\n").encode()


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Title():
            yield f"{'#' * block.level} {_text(block.text)}"
        case Paragraph():
            yield _line(block.text)
        case Items():
            yield from (f"- {_line(one)}" for one in block.texts)
        case Facts():
            yield from (f"- **{_text(name)}:** {_text(value)}" for name, value in block.rows)
        case Listing():
            fence = "`" * max(3, 1 + max(map(len, re.findall("`+", block.text)), default=0))
            yield from (fence, *escaped(block.text).splitlines(), fence)
        case ShownTable():
            yield from _table(block)
        case ReportFigure():
            yield f"![{_text(block.title)}]({block.file}.png)"
            yield ""
            yield f"*{_text(block.title)}.* {_text(block.caption)}"


def _table(table: ShownTable) -> Iterator[str]:
    yield f"**{_text(table.caption)}**"
    yield ""
    yield _row([head.text for head in table.head])
    yield _row(["---:" if head.is_number else ":---" for head in table.head], is_text=False)
    yield from map(_row, table.rows)
    if table.more:
        yield ""
        yield f"{_text(table.more)}."


def _row(cells: Iterable[str], *, is_text: bool = True) -> str:
    return f"| {' | '.join(' '.join(_text(cell).split()) if is_text else cell for cell in cells)} |"


def _text(text: str) -> str:
    """Return text that Markdown shows as it is, whatever it holds: no markup, no HTML."""
    return _MARKS.sub(r"\\\1", html.escape(escaped(text), quote=False))


def _line(text: str) -> str:
    """Return text that begins a line."""
    return _BEGINNING.sub(r"\1\\\2", _text(text))

"""The report as LaTeX: tables by booktabs, figures from the files of `plot` where they lie beside it."""

import re
from collections.abc import Iterable, Iterator, Sequence

from kd_sweep.figures.report.formats.blocks import Block, Facts, Items, Listing, Paragraph, Title
from kd_sweep.figures.report.report_content import ReportFigure
from kd_sweep.figures.report.shown_tables import Heading, ShownTable, cell_lines, column_widths
from kd_sweep.tables.rendering.value_text import escaped

_HEAD = r"""\documentclass[10pt]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage[margin=20mm]{geometry}
\usepackage{textcomp}
\usepackage{array}
\usepackage{booktabs}
\usepackage{longtable}
\usepackage{graphicx}
\setlength{\parindent}{0pt}
\setlength{\parskip}{0.4em}
\setlength{\tabcolsep}{4pt}
\setlength{\LTleft}{0pt}
\sloppy
\begin{document}"""
_MARKUP = {
    **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # behind the end of a row, or an item, it would be an option
    "]": "{]}",
    "×": r"\texttimes{}",
    "±": r"\textpm{}",
    "−": r"$-$",
    "–": r"--",
    "…": r"\ldots{}",
    "²": r"\textsuperscript{2}",
    "’": "'",
    "→": r"$\rightarrow$",
    "α": r"$\alpha$",
    "·": r"\textperiodcentered{}",
    "\n": " ",
}
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?")
_ROOM = {r"\small": 96, r"\footnotesize": 108, r"\scriptsize": 124, r"\tiny": 136}
"""Characters of a row at each size of letters."""
_EM = 0.5
"""Width of a character."""


def latex_page(blocks: Iterable[Block], marks: str) -> bytes:
    r"""Return blocks as a document of LaTeX, in UTF-8.

    Each table stands alone between `\begin{longtable}` and `\end{longtable}`, to be copied into a paper that uses
    booktabs and longtable. Figures are shown where `kd-sweep plot --out figures` has written them beside it.

    Args:
        blocks: of one study, or of several.
        marks: what tells which studies, version and tables the report is of.
    """
    lines = [f"% {marks}", *_HEAD.splitlines(), *(line for block in blocks for line in ("", *_lines(block)))]
    return ("\n".join([*lines, "", r"\end{document}"]) + "\n").encode()


def latex_text(text: str) -> str:
    """Return text that LaTeX shows as it is; signs that its usual fonts lack are written as their code point."""
    shown = [_MARKUP.get(sign) or (sign if ord(sign) < 0x7F else _beyond(sign)) for sign in escaped(text)]
    # Two hyphens, as of an option, would be a dash.
    return "".join("{}-" if sign == "-" and shown[index - 1] == "-" else sign for index, sign in enumerate(shown))


def _beyond(sign: str) -> str:
    return sign if 0xC0 <= ord(sign) <= 0xFF else rf"\texttt{{U+{ord(sign):04X}}}"


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Title():
            yield rf"\{('section', 'subsection')[block.level - 1]}*{{{latex_text(block.text)}}}"
        case Paragraph():
            yield latex_text(block.text)
        case Items():
            yield from _list("itemize", [rf"\item {latex_text(one)}" for one in block.texts])
        case Facts():
            rows = [rf"\item[{{{latex_text(name)}}}] {latex_text(value)}" for name, value in block.rows]
            yield from _list("description", rows)
        case Listing():
            # Not verbatim, which would need to know what the text does not hold.
            rows = [rf"\mbox{{}}{_spaced(line)}\\" for line in escaped(block.text).splitlines()]
            yield from (r"{\footnotesize\ttfamily\raggedright\noindent", *rows, "}")
        case ShownTable():
            yield from _table(block)
        case ReportFigure():
            yield from _figure(block)


def _list(kind: str, rows: Sequence[str]) -> Iterator[str]:
    if rows:
        yield from (rf"\begin{{{kind}}}", *rows, rf"\end{{{kind}}}")


def _spaced(line: str) -> str:
    return latex_text(line).replace(" ", r"~\allowbreak{}")


def _table(table: ShownTable) -> Iterator[str]:
    fitting = ((size, column_widths(table, room)) for size, room in _ROOM.items())
    smallest, room = list(_ROOM.items())[-1]
    even = [room // len(table.head)] * len(table.head)
    size, widths = next(((size, widths) for size, widths in fitting if widths is not None), (smallest, even))
    longest = [max((len(row[index]) for row in table.rows), default=0) for index in range(len(table.head))]
    kinds = [
        "r" if head.is_number else rf">{{\raggedright\arraybackslash}}p{{{_EM * width:g}em}}" if width < most else "l"
        for head, width, most in zip(table.head, widths, longest, strict=True)
    ]
    heads = [_heading(head, width) for head, width in zip(table.head, widths, strict=True)]
    yield rf"{{{size}"
    yield rf"\begin{{longtable}}{{@{{}}{''.join(kinds)}@{{}}}}"
    heading = [r"\toprule", _row(heads), r"\midrule"]
    yield from (rf"\caption{{{latex_text(table.caption)}}}\\", *heading, r"\endfirsthead", *heading, r"\endhead")
    for row in table.rows:
        yield _row([_cell(cell, head, width) for cell, head, width in zip(row, table.head, widths, strict=True)])
    yield r"\bottomrule"
    yield r"\end{longtable}}"
    if table.more:
        yield latex_text(f"{table.more}.")


def _heading(head: Heading, width: int) -> str:
    """Return the heading of a column, in lines that are no wider than the column."""
    return _stacked([latex_text(line) for line in cell_lines(head.text, width)], "b", "r" if head.is_number else "l")


def _cell(cell: str, head: Heading, width: int) -> str:
    if not head.is_number:
        return latex_text(cell)  # LaTeX breaks it
    return _stacked([_number(line) for line in cell_lines(cell, width)], "t", "r")


def _stacked(lines: Sequence[str], where: str, kind: str) -> str:
    broken = r"\\".join(lines)
    return broken if len(lines) == 1 else rf"\begin{{tabular}}[{where}]{{@{{}}{kind}@{{}}}}{broken}\end{{tabular}}"


def _row(cells: Iterable[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _number(cell: str) -> str:
    """Return numbers as LaTeX sets them, with a minus instead of a hyphen; a dash where there is none."""
    if cell == "-":
        return "--"
    parts, at = [], 0
    for match in _NUMBER.finditer(cell):
        parts += [latex_text(cell[at : match.start()]), f"${match[0].replace(',', '{,}')}$"]
        at = match.end()
    return "".join([*parts, latex_text(cell[at:])])


def _figure(figure: ReportFigure) -> Iterator[str]:
    file = f"{figure.file}.pdf"
    yield r"\begin{figure}[htbp]\centering"
    yield rf"\IfFileExists{{{file}}}"
    yield rf"{{\includegraphics[width=\linewidth,height=0.6\textheight,keepaspectratio]{{{file}}}}}"
    yield rf"{{\fbox{{\texttt{{{latex_text(file)}}} is not here: see How to reproduce it}}}}"
    yield rf"\caption{{{latex_text(figure.title)}. {latex_text(figure.caption)}}}"
    yield r"\end{figure}"

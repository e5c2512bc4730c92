"""The widths of columns: which fit a terminal whole, and how their headers are broken."""

from collections.abc import Sequence

from rich.cells import cell_len

GAP = 2
"""Columns of characters between two columns of a table."""
_LEAST_COLUMNS = 4
"""With fewer than these in sight, or than a third of all, a table tells too little: each row is a block instead."""
_LEAST_HEADER = 7
"""Headers are not broken into shorter lines than this."""


def fit(names: Sequence[str], columns: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return the headers, with line breaks, of the columns from the left that fit whole; none where those are too few.

    Args:
        names: of the columns.
        columns: their cells.
        width: of the terminal, in which wide characters take two columns; None is without limit.
    """
    widest = [max((cell_width(cell) for cell in cells), default=0) for cells in columns]
    if width is None or _total([max(cell_len(name), w) for name, w in zip(names, widest, strict=True)]) <= width:
        return list(names)
    headers = [at_underscores(name, max(w, _LEAST_HEADER)) for name, w in zip(names, widest, strict=True)]
    needed = [max(cell_width(header), w) for header, w in zip(headers, widest, strict=True)]
    num_fitting = next(number for number in range(len(needed), -1, -1) if _total(needed[:number]) <= width)
    enough = num_fitting >= _LEAST_COLUMNS and 3 * num_fitting >= len(names)
    return headers[:num_fitting] if enough or num_fitting == len(names) else []


def cell_width(cell: str) -> int:
    """Return how many columns of characters the longest line of a cell takes."""
    return max(map(cell_len, cell.split("\n")))


def at_underscores(name: str, width: int) -> str:
    """Break a header behind underscores, into lines no longer than ``width`` where its words allow that."""
    words = name.split("_")
    lines = [words[0]]
    for word in words[1:]:
        if cell_len(lines[-1]) + cell_len(word) + 2 <= width:
            lines[-1] += f"_{word}"
        else:
            lines[-1] += "_"
            lines.append(word)
    return "\n".join(lines)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * max(len(widths) - 1, 0)

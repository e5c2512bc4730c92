import io

import pytest
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kd_sweep.tables.rendering.text_grid import grid

HEADERS = ["a_\nlong_\nname", "n", "größe"]
COLUMNS = [
    ["x", "two\nlines", "", "e\u0301"],
    ["1", "12345", "-", "7"],
    ["y", "界", "b\nc\nd", "🙂"],
    ["left", "out", "x", "y"],
]
NUMBERS = [False, True, False, False]
ASCII_HEAD = box.Box("    \n    \n -- \n    \n    \n -- \n    \n    \n", ascii=True)


def lines_of_rich(columns: list[list[str]], shape: box.Box, *, is_framed: bool) -> list[str]:
    table = Table(
        box=shape,
        show_edge=is_framed,
        padding=(0, 1) if is_framed else (0, 0, 0, 1),
        pad_edge=is_framed,
    )
    for header, is_number in zip(HEADERS, NUMBERS, strict=False):
        table.add_column(Text(header), justify="right" if is_number else "left", no_wrap=True)
    for row in zip(*columns[: len(HEADERS)], strict=True):
        table.add_row(*map(Text, row))
    out = io.StringIO()
    Console(file=out, color_system=None, width=1000).print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("columns", [COLUMNS, [[], [], [], []]], ids=["rows", "no rows"])
@pytest.mark.parametrize(("rule", "shape"), [(None, box.ASCII2), ("─", box.SIMPLE_HEAD), ("-", ASCII_HEAD)])
def test_a_grid_is_the_one_that_rich_draws(columns: list[list[str]], rule: str | None, shape: box.Box):
    parts = list(grid(columns, HEADERS, NUMBERS, rule))
    drawn = [line.rstrip() for lines, _ in parts for line in lines.split("\n")]
    assert drawn == lines_of_rich(columns, shape, is_framed=rule is None)
    assert [style for lines, style in parts if "größe" in lines] == ["bold"]

"""The pages on performance say of every figure what it was, what it is, and what is between it and the floor."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PERFORMANCE, SCALE = ROOT / "docs/performance.md", ROOT / "docs/scale.md"
WITHOUT_FIGURES = {"generated_study.py"}
"""What other benchmarks are run on."""


def table_below(page: Path, heading: str) -> list[list[str]]:
    """Return the rows of the first table below a heading, that of its columns first."""
    text = page.read_text().partition(f"\n## {heading}\n")[2]
    lines = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert lines is not None, f"{page.name} has no table below {heading}"
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines[0].splitlines()]
    return [rows[0], *rows[2:]]


def test_every_figure_has_what_it_was_what_it_is_and_what_is_between_it_and_the_floor() -> None:
    head, *rows = table_below(PERFORMANCE, "Where time goes")
    assert head == ["what", "before", "now", "floor", "what separates us from it"]
    assert len({row[0] for row in rows}) == len(rows) >= 10
    for row in rows:
        assert len(row) == len(head), row
        assert all(row), row


@pytest.mark.parametrize("word", ["query", "status", "resume", "plan", "analyse", "image files", "idle", "worker"])
def test_every_part_of_a_sweep_and_of_reading_it_has_a_figure(word: str) -> None:
    _, *rows = table_below(PERFORMANCE, "Where time goes")
    assert any(word in row[0] for row in rows)


def test_every_benchmark_is_described() -> None:
    named = set(re.findall(r"benchmarks/(\w+\.py)", PERFORMANCE.read_text()))
    assert named == {path.name for path in (ROOT / "benchmarks").glob("*.py")} - WITHOUT_FIGURES


def test_the_cost_of_the_driver_is_given_for_thousands_of_trials_with_no_row_lost() -> None:
    head, *rows = table_below(SCALE, "Measured")
    assert head == ["trials", "epochs", "slots", "ms a trial", "by quarter", "trials/s", "cores", "MiB", "rows lost"]
    assert max(int(row[0].replace(",", "")) for row in rows) >= 1000
    assert all(row[-1] == "0" for row in rows)


def test_the_limit_of_the_driver_is_the_arithmetic_of_its_page() -> None:
    _, *rows = table_below(SCALE, "Where the driver saturates")
    for slots, *shortest in rows:
        number = int(slots.split(" ")[0].replace(",", ""))
        for seconds, cost_s in zip(shortest, (0.02, 0.04), strict=True):
            assert float(seconds.removesuffix(" s")) == pytest.approx(number * cost_s, abs=0.05)

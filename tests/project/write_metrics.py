"""The table of metrics in docs/metrics.md, drawn from the catalogue: ``make metrics`` writes it."""

import itertools
from pathlib import Path

from kd_sweep.study.metric_catalogue import METRICS
from kd_sweep.study.metric_record import Metric

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
COLUMNS = ("metric", "definition", "images", "range", "unit", "better", "null")
HEADER = f"| {' | '.join(COLUMNS)} |\n{'| --- ' * len(COLUMNS)}|\n"


def table() -> str:
    """Return the table of every metric, as Markdown."""
    return HEADER + "".join(map(_row, METRICS))


def written(page: str) -> str:
    """Return the page with the table of today in place of the one that it has."""
    before, _, rest = page.partition(HEADER)
    lines = itertools.dropwhile(lambda line: line.startswith("|"), rest.splitlines(keepends=True))
    return before + table() + "".join(lines)


def _row(metric: Metric) -> str:
    images = ", ".join(f"`{split}`" for split in metric.splits)
    cells = (metric.meaning, images, metric.range.text, metric.unit, metric.better or "", metric.null_text)
    return f"| `{metric.name}` | {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))

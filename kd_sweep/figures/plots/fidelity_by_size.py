"""The figure of fidelity over ensemble size, with how accurate the teachers are."""

from kd_sweep.figures.plots.figure_kind import Drawing, FigureKind
from kd_sweep.figures.plots.lines import (
    fields_over,
    lines_of,
    one_table,
    seeds_and_intervals,
    several_sizes,
)
from kd_sweep.tables.reader import Results

_OUTCOMES = ("fidelity_val", "teacher_accuracy", "ensemble_accuracy")


def _read(results: Results, _: str | None) -> Drawing:
    fields = fields_over(results, several_sizes(results))
    shown = [lines_of(results, outcome, fields) for outcome in _OUTCOMES]
    table = one_table(shown)
    caption = [
        "Validation fidelity of the student, accuracy of its single teachers (their mean) and of their ensemble, "
        "against the number of teachers, after the last epoch.",
        *seeds_and_intervals(table),
        *dict.fromkeys(remark for lines in shown for remark in lines.remarks),
    ]
    return Drawing([lines.draw for lines in shown], {"": table}, caption)


FIDELITY_BY_SIZE = FigureKind(
    "fidelity_by_size",
    "Fidelity and ensemble size",
    "Fidelity, and the accuracy of teachers and ensemble, against the number of teachers.",
    ("dose_response",),
    _read,
)

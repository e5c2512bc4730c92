"""The figure of fidelity apart for images on which the teachers are right, err together, and err apart."""

from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.figure_kind import Drawing, FigureKind
from kd_sweep.figures.plots.lines import fields_over, lines_of, one_table, seeds_and_intervals, strength_field
from kd_sweep.tables.reader import Results

_RIGHT = "fidelity_ensemble_right_val"
_WRONG = ("fidelity_ensemble_wrong_together_val", "fidelity_ensemble_wrong_apart_val")


def _read(results: Results, _: str | None) -> Drawing:
    fields = fields_over(results, strength_field(results))
    shown = [lines_of(results, _RIGHT, fields)]
    missing = []
    for outcome in _WRONG:
        try:
            shown.append(lines_of(results, outcome, fields))
        except QueryError:  # one teacher cannot err apart, and some never err together
            missing.append("together" if outcome is _WRONG[0] else "apart")
    table = one_table(shown)
    caption = [
        "Fidelity on clean validation images against augmentation strength, after the last epoch: where the ensemble "
        "is right, where it errs and all its members answer one class (together), and where it errs and they answer "
        "several (apart).",
        "To agree where the teachers err is to copy an error.",
        *seeds_and_intervals(table),
        *(f"No trial has images on which the teachers err {how}." for how in missing),
        *dict.fromkeys(remark for lines in shown for remark in lines.remarks),
    ]
    return Drawing([lines.draw for lines in shown], {"": table}, caption)


TEACHER_ERRORS = FigureKind(
    "teacher_errors",
    "Fidelity where teachers are right and where they err",
    "Fidelity where the ensemble is right, errs together and errs apart, against augmentation strength.",
    ("dose_response",),
    _read,
)

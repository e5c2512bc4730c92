"""The figure of an outcome over augmentation strength."""

from kd_sweep.figures.plots.axis_words import in_a_sentence, words
from kd_sweep.figures.plots.figure_kind import DEFAULT_METRIC, Drawing, FigureKind
from kd_sweep.figures.plots.lines import fields_over, lines_of, seeds_and_intervals, strength_field
from kd_sweep.tables.reader import Results


def _read(results: Results, metric: str | None) -> Drawing:
    lines = lines_of(results, metric or DEFAULT_METRIC, fields_over(results, strength_field(results)))
    caption = [
        f"{words(lines.outcome)} against {in_a_sentence(lines.fields.x)}, after the last epoch.",
        *seeds_and_intervals(lines.table),
        *lines.remarks,
    ]
    return Drawing([lines.draw], {"": lines.table}, caption)


DOSE_RESPONSE = FigureKind(
    "dose_response",
    "Dose and response",
    "An outcome against augmentation strength, a line for each ensemble size.",
    ("dose_response",),
    _read,
    takes_metric=True,
)

"""The figure of attention, fidelity and generalization gap side by side, over augmentation strength."""

from functools import partial
from typing import TYPE_CHECKING

from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.figure_kind import Drawing, FigureKind
from kd_sweep.figures.plots.lines import (
    Lines,
    fields_over,
    lines_of,
    one_table,
    seeds_and_intervals,
    strength_field,
)
from kd_sweep.study.attention_metrics import CHANCE
from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OF_TEACHERS, _OF_STUDENT = "attention_iou_teachers", "attention_iou_student"
_FIDELITY, _GAP = "fidelity_val", "generalization_gap"


def _read(results: Results, _: str | None) -> Drawing:
    fields = fields_over(results, strength_field(results))
    try:
        iou = lines_of(results, _OF_TEACHERS, fields)
    except QueryError:  # single teachers have no pairs
        iou = lines_of(results, _OF_STUDENT, fields)
    chance = _found(partial(lines_of, results, f"{iou.outcome}{CHANCE}", fields))
    fidelity, gap = (lines_of(results, outcome, fields) for outcome in (_FIDELITY, _GAP))
    shown = [iou, *([chance] if chance else []), fidelity, gap]
    table = one_table(shown)
    caption = [
        f"Attention IoU of {'teachers' if iou.outcome == _OF_TEACHERS else 'student and teachers'}, fidelity and "
        "generalization gap against augmentation strength, after the last epoch.",
        *seeds_and_intervals(table),
        *(["Thin lines are the chance level: the IoU of attention regions of different images."] if chance else []),
        "The grey line marks no gap. Fidelity has no chance level in the tables.",
        *dict.fromkeys(remark for lines in shown for remark in lines.remarks),
    ]
    return Drawing([partial(_draw_iou, iou, chance), fidelity.draw, partial(_draw_gap, gap)], {"": table}, caption)


def _found(read: partial[Lines]) -> Lines | None:
    try:
        return read()
    except QueryError:
        return None


def _draw_iou(iou: Lines, chance: Lines | None, axes: "Axes") -> None:
    iou.draw(axes)
    if chance is None:
        return
    for line in chance.lines:
        x = line.column(iou.fields.x)
        axes.plot(x, line.column("mean"), color=line.look.color, linewidth=0.5, gid="chance")
    axes.plot([], [], color="0.3", linewidth=0.5, label="chance level")


def _draw_gap(gap: Lines, axes: "Axes") -> None:
    axes.axhline(0, color="0.6", linewidth=0.6, zorder=0)
    gap.draw(axes)


TRIPTYCH = FigureKind(
    "triptych",
    "Attention, fidelity and generalization gap",
    "Attention IoU with its chance level, fidelity, and generalization gap against augmentation strength.",
    ("dose_response",),
    _read,
)

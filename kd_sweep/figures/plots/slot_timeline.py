"""The figure of what ran when and where: the slots of hosts over time."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.figure_kind import Drawing, FigureKind
from kd_sweep.figures.plots.looks import RASTER_FROM
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.named_query import remarks_of
from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SCALES = ((3 * 86_400.0, "days", 86_400.0), (3 * 3_600.0, "hours", 3_600.0), (180.0, "minutes", 60.0))
"""Seconds from which a unit is taken, the unit, and its seconds."""
_MOST_LABELS = 24
_LOOKS = {
    "teacher": ("0.75", "////"),
    "trial": ("#3b528b", ""),
    "stopped trial": ("#5ec962", "...."),
    "failed trial": ("#d55e00", "xxxx"),
    "unfinished trial": ("white", ""),
}
"""Colour and hatching of a bar."""
_KINDS = {"completed": "trial", "stopped": "stopped trial", "failed": "failed trial"}
Slot = tuple[str, int]


class Span(NamedTuple):
    """One bar."""

    kind: str
    slot: Slot
    begin: float
    length: float


def _read(results: Results, _: str | None) -> Drawing:
    view = answer(results, "timeline")
    rows = view.to_pylist()
    if not rows:
        raise QueryError("nothing has begun, or it is not known when")
    began = min(row["began_at"] for row in rows)
    ended = max(row["ended_at"] or row["began_at"] for row in rows)
    whole_s = (ended - began).total_seconds()
    unit, unit_s = next(((unit, each) for least, unit, each in _SCALES if whole_s >= least), ("seconds", 1.0))
    spans = [
        Span(
            "teacher" if row["kind"] == "teacher" else _KINDS.get(row["status"], "unfinished trial"),
            (row["host"] or "unknown host", row["slot"]),
            (row["began_at"] - began).total_seconds() / unit_s,
            ((row["ended_at"] or ended) - row["began_at"]).total_seconds() / unit_s,
        )
        for row in rows
    ]
    slots = sorted({span.slot for span in spans})
    hosts = len({host for host, _ in slots})
    counts = Counter(row["kind"] for row in rows)
    num_open = sum(row["ended_at"] is None for row in rows)
    caption = [
        f"What ran in which slot of {hosts} host{'s' * (hosts > 1)}: {counts['trial']} attempts at trials, "
        f"{counts['teacher']} teachers; of trials, the status that they have now.",
        f"Time in {unit} since {began:%Y-%m-%d %H:%M:%S} UTC.",
        *([f"{num_open} still run: their bars end at the last moment of the others."] if num_open else []),
        *remarks_of(view),
    ]
    panel = partial(_draw, spans, slots, unit)
    return Drawing([panel], {"": view}, caption, height_mm=min(16.0 + 4.5 * len(slots), 160.0), is_wide=True)


def _draw(spans: Sequence[Span], slots: Sequence[Slot], unit: str, axes: "Axes") -> None:
    at = {slot: number for number, slot in enumerate(slots)}
    for kind, (color, hatch) in _LOOKS.items():
        own = [span for span in spans if span.kind == kind]
        if own:
            axes.barh(
                [at[span.slot] for span in own],
                [span.length for span in own],
                left=[span.begin for span in own],
                height=0.8,
                color=color,
                hatch=hatch,
                edgecolor="0.2",
                linewidth=0.3,
                label=kind,
                rasterized=len(spans) >= RASTER_FROM,
            )
    step = -(-len(slots) // _MOST_LABELS)
    several = len({host for host, _ in slots}) > 1
    labels = [f"{host}, slot {number}" if several else f"slot {number}" for host, number in slots]
    axes.set_yticks(range(0, len(slots), step), labels[::step])
    axes.set_ylim(len(slots) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"Time ({unit})")
    axes.tick_params(axis="y", length=0)


TIMELINE = FigureKind(
    "timeline",
    "Slots over time",
    "What ran when and in which slot: teachers, and trials by how they ended.",
    ("timeline",),
    _read,
)

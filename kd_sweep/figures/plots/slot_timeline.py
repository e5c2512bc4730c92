"""The figure of what ran when and where: the slots of hosts over time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from kd_sweep.analysis.wording import counted
from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.figure_kind import Drawing, FigureKind
from kd_sweep.figures.plots.lines import said_of
from kd_sweep.figures.plots.looks import RASTER_FROM
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.path import Path

_SCALES = ((3 * 86_400.0, "days", 86_400.0), (3 * 3_600.0, "hours", 3_600.0), (180.0, "minutes", 60.0))
"""Seconds from which a unit is taken, the unit, and its seconds."""
_MOST_LABELS = 24
_HALF_BAR = 0.4
"""Of the distance of two slots."""
_LOOKS = {
    "teacher": ("0.75", "////"),
    "trial": ("#3b528b", ""),
    "stopped trial": ("#5ec962", "\\\\\\\\"),
    "failed trial": ("#d55e00", "xxxx"),
    "unfinished trial": ("white", ""),
}
"""Colour and hatching of a bar; of lines, since a hatch of dots is a path of a thousand circles."""
_KINDS = {"completed": "trial", "stopped": "stopped trial", "failed": "failed trial"}
_LONG = 0.5
"""Of the time in which something ran: a longer pause is cut out."""
Slot = tuple[str, int]
Pause = tuple[float, float]
"""When it began, and how long it was, in seconds."""


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
    whole = [
        Span(
            "teacher" if row["kind"] == "teacher" else _KINDS.get(row["status"], "unfinished trial"),
            (row["host"] or "unknown host", row["slot"]),
            (row["began_at"] - began).total_seconds(),
            ((row["ended_at"] or ended) - row["began_at"]).total_seconds(),
        )
        for row in rows
    ]
    pauses = _long_pauses(whole)
    busy_s = max(span.begin + span.length for span in whole) - sum(length for _, length in pauses)
    unit, unit_s = _scale(busy_s)
    spans = [span._replace(begin=_less(pauses, span.begin) / unit_s, length=span.length / unit_s) for span in whole]
    slots = sorted({span.slot for span in spans})
    hosts = len({host for host, _ in slots})
    counts = Counter(row["kind"] for row in rows)
    num_open = sum(row["ended_at"] is None for row in rows)
    caption = [
        f"What ran when, in {counted(len(slots), 'slot')} of {counted(hosts, 'host')}: {_attempts(counts)}. "
        "Each bar is one of them (no intervals); a trial has the status that it has now.",
        f"Time is in {unit} since {began:%Y-%m-%d %H:%M:%S} UTC.",
        *_told(pauses),
        *([f"{num_open} have not ended: their bars end with the last of the others."] if num_open else []),
        *said_of(view),
    ]
    panel = partial(_draw, spans, slots, unit, [_less(pauses, begin) / unit_s for begin, _ in pauses])
    return Drawing([panel], {"": view}, caption, height_mm=min(16.0 + 4.5 * len(slots), 160.0), is_wide=True)


def _long_pauses(spans: Sequence[Span]) -> list[Pause]:
    """Return when nothing ran for long, in order: bars beside a study's rest over a weekend would be lines."""
    gaps: list[Pause] = []
    until = busy = 0.0
    for span in sorted(spans, key=lambda span: span.begin):
        if span.begin > until:
            gaps.append((until, span.begin - until))
        busy += max(span.begin + span.length - max(until, span.begin), 0.0)
        until = max(until, span.begin + span.length)
    return [(begin, length) for begin, length in gaps if length > _LONG * busy]


def _scale(length_s: float) -> tuple[str, float]:
    """Return the unit that a time is told in, and how many seconds it has."""
    return next(((unit, unit_s) for least, unit, unit_s in _SCALES if length_s >= least), ("seconds", 1.0))


def _less(pauses: Sequence[Pause], moment: float) -> float:
    """Return a moment on the axis that has no pauses."""
    return moment - sum(length for begin, length in pauses if begin < moment)


def _told(pauses: Sequence[Pause]) -> list[str]:
    if not pauses:
        return []
    length_s = sum(length for _, length in pauses)
    unit, unit_s = _scale(length_s)
    number = (
        f"A pause of {length_s / unit_s:.3g} {unit} is"
        if len(pauses) == 1
        else (f"{len(pauses)} pauses, of {length_s / unit_s:.3g} {unit} together, are")
    )
    return [f"{number} cut out, at the grey line{'s' * (len(pauses) > 1)}: nothing ran then."]


def _attempts(counts: Mapping[str, int]) -> str:
    trials = f"{counts['trial']} attempt{'s' * (counts['trial'] != 1)} at trials"
    return f"{trials} and {counted(counts['teacher'], 'teacher')}" if counts["teacher"] else trials


def _draw(spans: Sequence[Span], slots: Sequence[Slot], unit: str, cuts: Sequence[float], axes: "Axes") -> None:
    from matplotlib.patches import PathPatch

    for cut in cuts:
        axes.axvline(cut, color="0.6", linewidth=0.8, zorder=0, gid="pause")
    at = {slot: number for number, slot in enumerate(slots)}
    for kind, (color, hatch) in _LOOKS.items():
        own = [span for span in spans if span.kind == kind]
        if own:
            bars = PathPatch(
                _bars(own, at),
                facecolor=color,
                hatch=hatch,
                edgecolor="0.2",
                linewidth=0.3,
                label=kind,
                rasterized=len(spans) >= RASTER_FROM,
            )
            axes.add_patch(bars)
    step = -(-len(slots) // _MOST_LABELS)
    several = len({host for host, _ in slots}) > 1
    labels = [f"{host}, slot {number}" if several else f"slot {number}" for host, number in slots]
    axes.set_yticks(range(0, len(slots), step), labels[::step])
    axes.set_ylim(len(slots) - 0.4, -0.6)
    axes.set_xlim(0, 1.01 * max(span.begin + span.length for span in spans) or 1)
    axes.set_xlabel(f"Time ({unit})")
    axes.tick_params(axis="y", length=0)


def _bars(spans: Sequence[Span], at: Mapping[Slot, int]) -> "Path":
    """Return all bars of a kind as one path, which weighs a tenth of so many rectangles in SVG and PDF."""
    from matplotlib.path import Path

    vertices: list[tuple[float, float]] = []
    for span in spans:
        left, right = span.begin, span.begin + span.length
        low, high = at[span.slot] - _HALF_BAR, at[span.slot] + _HALF_BAR
        vertices += [(left, low), (right, low), (right, high), (left, high), (left, low)]
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(spans)
    return Path(vertices, codes)


TIMELINE = FigureKind(
    "timeline",
    "Slots over time",
    "What ran when and in which slot: teachers, and trials by how they ended.",
    ("timeline",),
    _read,
)

"""Lines over strength or ensemble size: which settings make one, and how means, intervals and seeds are drawn."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.errors import QueryError
from kd_sweep.figures.plots.axis_words import axis_label, in_a_sentence, setting_label, value_label
from kd_sweep.figures.plots.looks import RASTER_FROM, Look, looks
from kd_sweep.statistics.intervals import MIN_CLUSTERS
from kd_sweep.study.metric_catalogue import METRICS_VERSION, REPORTED_METRICS
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.named_query import remarks_of
from kd_sweep.tables.queries.setting_columns import searched_fields
from kd_sweep.tables.reader import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRENGTH, STUDENT, SIZE = "augmentation_strength", "student_strength", "ensemble_size"
MAX_LINES = 6
_MAX_TICKS = 6
_LETTER = 0.55
"""Width of a letter, on average, in font sizes."""
_MAX_LEVELS = 200
_NUMBERS = (pa.int32(), pa.int64(), pa.float64())
Row = dict[str, Any]
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Fields:
    """The searched fields of a study, as a figure over one of them takes them."""

    x: str
    """The field along the axis."""
    lines: tuple[str, ...]
    """Those whose values make a line, of which there are several."""
    keys: tuple[Key, ...]
    """Their values, of each line that is drawn; of too many lines those are drawn that are evenly chosen."""
    remarks: tuple[str, ...]
    """What a caption says of fields that are taken together, and of lines that are not drawn."""

    def looks(self) -> dict[Key, Look]:
        """Return what the line of each key looks like, in every panel and figure alike."""
        return dict(zip(self.keys, looks(len(self.keys)), strict=True))

    def key_of(self, row: Row) -> Key:
        """Return the values of a row of a view; of a field that no row has a value of, a view has no column."""
        return tuple(row.get(name) for name in self.lines)

    def label_of(self, key: Key) -> str:
        """Return a setting for a legend or a title; in full where another one would have the same words."""
        short = setting_label(self.lines, key)
        if [setting_label(self.lines, other) for other in self.keys].count(short) < 2:
            return short
        return ", ".join(value_label(name, value) for name, value in zip(self.lines, key, strict=True))


def fields_over(
    results: Results, x: str, most: int = MAX_LINES, pooled: Sequence[str] = (), *, begun: bool = False
) -> Fields:
    """Return which fields make lines over ``x``.

    Numbers beyond strength and size are taken together, those of the most values first, until at most ``most`` lines
    are left: a random learning rate would make a line of every trial. Text, such as a loss, is never taken together.

    Args:
        results: whose trials.
        x: the field along the axis.
        most: lines.
        pooled: fields that are taken together in any case.
        begun: whether trials count that are not completed; else they do where none is.

    Raises:
        QueryError: no trial has begun. One line.
    """
    trials = results.table("trials")
    if trials.num_rows == 0:
        raise QueryError("no trial has begun")
    completed = trials.filter(pc.equal(trials["status"], "completed"))
    trials = trials if begun or completed.num_rows == 0 else completed
    values = {name: len(pc.unique(trials[name])) for name in searched_fields(results) if name != x}
    together = [name for name in pooled if name == x or values[name] > 1]
    kept = [name for name in values if values[name] > 1 and name not in pooled]
    sources = results.varying_sources()
    numeric = {name for name in kept if trials[name].type in _NUMBERS and name not in (STRENGTH, SIZE, *sources)}
    while numeric and trials.group_by(kept).aggregate([]).num_rows > most:
        name = max(numeric, key=values.__getitem__)
        numeric.remove(name)
        kept.remove(name)
        together.append(name)
    found = list(zip(*(trials[name].to_pylist() for name in kept), strict=True)) if kept else [()]
    keys = sorted(dict.fromkeys(found), key=lambda key: [(value is None, value) for value in key])
    remarks = [f"Trials that differ in {in_a_sentence(name)} are taken together." for name in together]
    if len(keys) > most:
        remarks.append(f"Drawn are {most} of {len(keys)} settings, evenly chosen.")
    return Fields(x, tuple(kept), tuple(evenly(keys, most)), tuple(remarks))


def strength_field(results: Results) -> str:
    """Return the strength that varies: that of the teachers, or where they all have one, that of the student.

    Raises:
        QueryError: neither varies, or one has more values than a line can have. One line.
    """
    trials = results.table("trials")
    for name in (STRENGTH, STUDENT):
        number = len(pc.unique(trials[name].drop_null())) if name in trials.column_names else 0
        if number > _MAX_LEVELS:
            raise QueryError(f"the study has {number} strengths, and a line can have {_MAX_LEVELS}: a grid has fewer")
        if number > 1:
            return name
    raise QueryError("the study has one augmentation strength, and a line needs two")


def several_sizes(results: Results) -> str:
    """Return the field of ensemble sizes; `QueryError` where there is one size alone."""
    if len(pc.unique(results.table("trials")[SIZE].drop_null())) < 2:
        raise QueryError("the study has one ensemble size, and a line needs two")
    return SIZE


@dataclass(frozen=True)
class Line:
    """One line of a figure: the rows of a view that have the same values but for the field along the axis."""

    label: str
    look: Look
    rows: Sequence[Row]
    """By the field along the axis, rising."""

    def column(self, name: str) -> list[float]:
        """Return the values of a column; nan, which is not drawn, stands for null."""
        return [math.nan if row[name] is None else row[name] for row in self.rows]


@dataclass(frozen=True)
class Lines:
    """All lines of a panel."""

    outcome: str
    fields: Fields
    lines: Sequence[Line]
    table: pa.Table
    """Their rows, as the view has them."""
    remarks: Sequence[str]
    """What a caption has to say of them."""

    def draw(self, axes: "Axes", *, seeds: bool = True) -> None:
        """Draw means as lines, intervals as bands, seeds as points."""
        number = sum(len(row["values"] or ()) for line in self.lines for row in line.rows)
        for line in self.lines:
            color, marker, dashes = line.look
            x = line.column(self.fields.x)
            ends = [drawn_interval(row, self.outcome) or (math.nan, math.nan) for row in line.rows]
            low, high = zip(*ends, strict=True)
            axes.fill_between(x, low, high, color=color, alpha=0.16, linewidth=0)
            if seeds:
                points = [(row[self.fields.x], value) for row in line.rows for value in row["values"] or ()]
                if len(points) > len(line.rows):
                    at, values = zip(*points, strict=True)
                    size = 5 if number < RASTER_FROM else 2
                    axes.scatter(
                        at, values, s=size, color=color, alpha=0.45, linewidths=0, rasterized=number >= RASTER_FROM
                    )
            axes.plot(x, line.column("mean"), color=color, marker=marker, linestyle=dashes, label=line.label)
        ticks_at(axes, [row[self.fields.x] for line in self.lines for row in line.rows])
        axes.set_xlabel(axis_label(self.fields.x))
        axes.set_ylabel(axis_label(self.outcome))


def lines_of(results: Results, outcome: str, fields: Fields) -> Lines:
    """Return the lines of an outcome, from the view `dose_response`.

    Raises:
        QueryError: no completed trial has a value of it, or it is no metric. One line.
    """
    view = answer(results, "dose_response", {"outcome": outcome, "by": [fields.x, *fields.lines]})
    finite = view.filter(pc.and_(pc.is_finite(view["mean"]), pc.is_valid(view[fields.x])))
    if finite.num_rows == 0:
        raise QueryError(nobody_has(results, f"a value of {outcome}"))
    remarks = [*fields.remarks, *said_of(view)]
    if finite.num_rows < view.num_rows:
        remarks.append(_without_a_value(view.num_rows - finite.num_rows))
    drawn = finite.filter(pa.array([fields.key_of(row) in fields.keys for row in finite.to_pylist()], pa.bool_()))
    remarks += _cut_intervals(drawn, outcome)
    return Lines(outcome, fields, _split(drawn, fields), drawn, remarks)


def drawn_interval(row: Row, outcome: str) -> tuple[float, float] | None:
    """Return the interval of a mean, None without one; that of few seeds is cut where the metric's values end."""
    if row["t_low"] is None:
        return None
    least, greatest = _possible_values(outcome)
    return max(row["t_low"], least), min(row["t_high"], greatest)


def said_of(view: pa.Table) -> list[str]:
    """Return what a view leaves out, and what is to be known of its metrics, as sentences of a caption."""
    return [f"{text[:1].upper()}{text[1:].removesuffix('.')}." for text in remarks_of(view)]


def nobody_has(results: Results, what: str) -> str:
    """Return why a figure cannot be drawn: no completed trial has it, and perhaps that its metrics are too old."""
    trials = results.table("trials")
    completed = trials.filter(pc.equal(trials["status"], "completed"))["metrics_version"]
    newest = pc.max(completed.fill_null(1)).as_py()
    older = newest is not None and newest < METRICS_VERSION
    why = f"; theirs are metrics of version {newest}, and today's are of version {METRICS_VERSION}" if older else ""
    return f"no completed trial has {what}{why}"


def span(numbers: Iterable[int]) -> str:
    """Return the least and the greatest number in words: `2 to 3`, or `3` where they are equal."""
    distinct = sorted(set(numbers))
    return " to ".join(map(str, dict.fromkeys([distinct[0], distinct[-1]])))


def evenly(items: Sequence[Any], most: int) -> list[Any]:
    """Return at most so many of the items: the first, the last, and evenly between."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def put_title(axes: "Axes", title: str) -> None:
    """Set the title of a panel, in lines as long as the panel is wide."""
    width = axes.get_window_extent().width * 72 / axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    letters = int(width / (_LETTER * float(axes.title.get_fontsize())))
    axes.set_title("\n".join(textwrap.wrap(title, max(letters, 1))))


def ticks_at(axes: "Axes", values: Sequence[float]) -> None:
    """Put the ticks where the values are, if these are few."""
    distinct = sorted(set(values))
    if len(distinct) <= _MAX_TICKS:
        axes.set_xticks(distinct, [f"{value:g}" for value in distinct])


def seeds_and_intervals(
    table: pa.Table, marks: str = "Lines", points: str = ", points single seeds", bars: str = "bands"
) -> list[str]:
    """Return what a caption says of how many seeds a mean is of and which interval it has, or why it has none.

    Args:
        table: rows of a view over seeds, or effects: `num_seeds`, and `t_low`, null where there is no interval.
        marks: what shows means.
        points: what shows single seeds, after a comma; empty where nothing does.
        bars: what shows intervals.
    """
    low, high = pc.min_max(table["num_seeds"]).as_py().values()
    if high == 1:
        return [f"{marks} show a single seed (n = 1), so there is no interval."]
    means = f"{marks} are means over {low} to {high} seeds" if low < high else f"{marks} are means over {high} seeds"
    if table["t_low"].null_count == table.num_rows:
        why = f"an interval needs {MIN_CLUSTERS}" if high < MIN_CLUSTERS else "the seeds of each setting agree"
        return [f"{means}{points}. There are no {bars}: {why}."]
    some = f"No {bars} where there are fewer than {MIN_CLUSTERS} seeds, or all agree."
    return [
        f"{means}{points}, {bars} 95 % intervals of the mean (Student's t over seeds).",
        *([some] if table["t_low"].null_count else []),
    ]


def one_table(panels: Sequence[Lines]) -> pa.Table:
    """Return the rows of several outcomes in one table, with the outcome as its first column."""
    tables = [
        lines.table.add_column(0, "outcome", pa.array([lines.outcome] * lines.table.num_rows, pa.string()))
        for lines in panels
    ]
    return pa.concat_tables([table.replace_schema_metadata(None) for table in tables], promote_options="default")


def _split(table: pa.Table, fields: Fields) -> list[Line]:
    rows = sorted(table.to_pylist(), key=lambda row: row[fields.x])
    own = {key: [row for row in rows if fields.key_of(row) == key] for key in fields.keys}
    looks = fields.looks()
    return [Line(fields.label_of(key), looks[key], own[key]) for key in fields.keys if own[key]]


def _possible_values(outcome: str) -> tuple[float, float]:
    """Return the least and the greatest value of a metric, infinite where none or the number of classes bounds it."""
    metric = REPORTED_METRICS.get(outcome)
    if metric is None:
        return -math.inf, math.inf
    return metric.range.low, math.inf if metric.range.high is None else metric.range.high


def _cut_intervals(table: pa.Table, outcome: str) -> list[str]:
    least, greatest = _possible_values(outcome)
    beyond = pc.or_kleene(pc.less(table["t_low"], least), pc.greater(table["t_high"], greatest))
    if not pc.any(beyond).as_py():
        return []
    return [f"Intervals that reach beyond {REPORTED_METRICS[outcome].range.text}, the values that there are, are cut."]


def _without_a_value(number: int) -> str:
    return f"Left out: {number} setting{'s' * (number > 1)} without a finite value."

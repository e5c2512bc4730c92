"""What views are asked for by name: metrics, and the fields that make a setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.errors import QueryError, alternatives
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.tables.queries.setting_columns import DIMENSIONS, searched_fields
from kd_sweep.tables.reader import Results

OF_EPOCHS = ("learning_rate", "epoch_s", "train_images_per_s")
"""Columns of `epochs` that are drawn as metrics are."""
OF_TRIALS = ("objective", "best_objective", "best_epoch", "last_epoch", "train_s")


def checked_metrics(results: Results, names: Sequence[str], table: str, parameter: str) -> list[str]:
    """Return the names, each once, where all are columns of numbers that a view can draw.

    Args:
        results: whose tables.
        names: of metrics, extra ones too.
        table: `epochs` or `trials`.
        parameter: that names them, for the message.

    Raises:
        QueryError: one is none. One line.
    """
    more = OF_EPOCHS if table == "epochs" else OF_TRIALS
    unknown = [name for name in names if name not in REPORTED_METRICS and name not in more]
    possible = [*REPORTED_METRICS, *(results.extra_metrics(table) if unknown else ()), *more]  # these are read
    for name in unknown:
        if name not in possible:
            raise QueryError(f"{parameter}: {name!r} is no metric of these studies; {alternatives(name, possible)}")
    return list(dict.fromkeys(names))


def one_study(results: Results, view: str) -> str:
    """Return the name of the study; `QueryError` where there are several."""
    studies = results.studies()
    if len(studies) > 1:
        raise QueryError(f"{view}: of one study at a time, and these are {len(studies)}; name it: study={studies[0]}")
    return studies[0]


@dataclass(frozen=True)
class Settings:
    """The columns of `trials` that make a setting."""

    columns: list[str]
    """Without `study`, which always belongs to it."""
    number: int
    """How many settings the trials have."""
    remarks: list[str]
    """Which fields are averaged over, though they are searched."""


def settings_of(
    results: Results, by: Sequence[str] | None, most: int, view: str, always: Sequence[str] = ()
) -> Settings:
    """Return what keeps the trials of a view apart.

    That is every searched field but the seed, and versions of plug-ins where there are several. Where these make more
    than ``most`` settings, numbers are left out, those of the most values first: a random learning rate makes a setting
    of every trial. What is text or a bool, such as a loss, is never left out unasked.

    Args:
        results: whose trials.
        by: the fields, as columns of `trials`; None: as above. Versions of plug-ins are always among them.
        most: settings.
        view: its name, for the message.
        always: columns that are not left out unasked.

    Raises:
        QueryError: ``by`` names something else, or there are too many settings. One line.
    """
    sources, everything = results.varying_sources(), searched_fields(results)
    trials = results.table("trials").select(["study", "seed", *everything])
    if by is None:
        columns, left_out = _fewer(trials, everything, most, {*sources, *always})
    else:
        for name in by:
            if name not in (possible := [*everything, "seed"]):
                raise QueryError(f"{view}: by: {name!r} is no searched field; {alternatives(name, possible)}")
        columns, left_out = list(dict.fromkeys([*by, *sources])), []
    number = _number(trials, columns)
    if number > most:
        raise QueryError(f"{view}: {number} settings are more than {most}; name fewer fields: by={DIMENSIONS[0]}")
    remarks = [f"Taken together, whatever their {name}: it has too many values." for name in left_out]
    return Settings(columns, number, remarks)


UNBALANCED_SQL = "min(num_trials) < max(num_trials) AS is_unbalanced"
"""Whether seeds, each with its `num_trials`, are means of different trials: a column for `unbalanced`."""


def unbalanced(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the remark that seeds are means of different trials, where that is so of a row."""
    number = sum(row["is_unbalanced"] for row in rows)
    counted = f"{number} row{'s' if number > 1 else ''}"
    return [f"Unbalanced: in {counted} some seeds have fewer of the settings that are averaged."] if number else []


def left_out(results: Results) -> list[str]:
    """Return the remark that not every trial counts, where that is so."""
    counted = pc.value_counts(results.table("trials")["status"].drop_null()).to_pylist()
    numbers = {row["values"]: row["counts"] for row in counted if row["values"] != "completed"}
    others = [f"{numbers[status]} {status}" for status in sorted(numbers)]
    return [f"Only completed trials count; left out: {', '.join(others)}."] if others else []


def _fewer(trials: pa.Table, columns: list[str], most: int, kept: set[str]) -> tuple[list[str], list[str]]:
    left_out: list[str] = []
    numbers = (pa.int32(), pa.int64(), pa.float64())
    numeric = [name for name in columns if name not in kept and trials[name].type in numbers]
    values = {name: len(pc.unique(trials[name])) for name in numeric}
    while _number(trials, columns) > most and values:
        name = max(values, key=values.__getitem__)
        del values[name]
        columns = [column for column in columns if column != name]
        left_out.append(name)
    return columns, left_out


def _number(trials: pa.Table, columns: Sequence[str]) -> int:
    return int(trials.group_by(["study", *columns]).aggregate([]).num_rows)

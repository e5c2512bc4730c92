"""The comparison of two trials, or of two studies: settings that differ, metrics side by side, what only one has."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from kd_sweep.errors import QueryError, StorageError
from kd_sweep.study.file.frozen import parse_frozen
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.tables.reader import Results
from kd_sweep.tables.rendering.html_tables import html_blocks, html_table
from kd_sweep.tables.schema import FINISHED, as_text, extra_metric_columns, extra_metrics_of

COMPARED = ("last_epoch", "train_s", *REPORTED_METRICS)
"""Columns of `trials` whose values are put side by side, in this order; extra metrics come behind them."""
_POINT = ("augmentation_strength", "ensemble_size", "seed")
_SETTINGS = pa.schema([("field", pa.string()), ("first", pa.string()), ("second", pa.string())])
_METRICS = pa.schema(
    [("column", pa.string()), ("first", pa.float64()), ("second", pa.float64()), ("difference", pa.float64())]
)


@dataclass(frozen=True)
class TrialComparison:
    """How two trials differ."""

    first: str
    """Id of the first trial."""
    second: str
    settings: pa.Table
    """A row per field of the configurations that differs: `field` (its dotted name), `first`, `second` (text; JSON but
    for text by itself; null where the field is null, or a trial of another version has none)."""
    metrics: pa.Table
    """A row per column of `COMPARED`, and per extra metric, that either trial has: `column`, `first`, `second`,
    `difference` (second minus first; null where either is)."""

    def _repr_html_(self) -> str:
        title = f"trial {self.first} and trial {self.second}"
        return html_blocks(title, html_table(self.settings, "settings"), html_table(self.metrics, "metrics"))


@dataclass(frozen=True)
class StudyComparison:
    """How two studies differ."""

    first: str
    """Name of the first study."""
    second: str
    settings: pa.Table
    """As `TrialComparison.settings`, of the frozen studies; their names are no settings."""
    pairs: pa.Table
    """A row per pair of trials that stand for each other: the columns of the point that both studies search,
    `first_trial_id`, `second_trial_id` (the same where the configurations are equal)."""
    metrics: pa.Table
    """As `TrialComparison.metrics`, of means over the pairs of which both trials are finished and have a value;
    `num_pairs` counts them."""
    only_first: pa.Table
    """A row per trial of the first study that has no counterpart: `trial_id`, `status`, the columns of its point."""
    only_second: pa.Table

    @property
    def nbytes(self) -> int:
        """The memory that the tables take."""
        tables = (self.settings, self.pairs, self.metrics, self.only_first, self.only_second)
        return sum(table.nbytes for table in tables)

    def _repr_html_(self) -> str:
        return html_blocks(
            f"study {self.first} and study {self.second}",
            html_table(self.settings, "settings"),
            html_table(self.metrics, f"metrics, means over {self.pairs.num_rows} pairs of trials"),
            html_table(self.only_first, f"only in {self.first}"),
            html_table(self.only_second, f"only in {self.second}"),
        )


def compare_trials(first: Mapping[str, Any], second: Mapping[str, Any]) -> TrialComparison:
    """Return how two trials differ.

    Args:
        first: a row of the `trials` table, of any study.
        second: another.
    """
    settings = _differing(json.loads(first["config"]), json.loads(second["config"]))
    extra = dict.fromkeys([*extra_metrics_of(first), *extra_metrics_of(second)])
    rows = [_side_by_side(column, first.get(column), second.get(column)) for column in (*COMPARED, *extra)]
    present = [row for row in rows if (row["first"], row["second"]) != (None, None)]
    return TrialComparison(
        str(first["trial_id"]), str(second["trial_id"]), settings, pa.Table.from_pylist(present, _METRICS)
    )


def compare_studies(first: Results, second: Results) -> StudyComparison:
    """Return how two studies differ.

    Trials of one configuration are a pair. So are two others that alone have equal values in the columns of the point
    that both studies search: two studies of other losses and the same strengths and seeds are compared like with like.

    Args:
        first: the folder of one study, opened.
        second: that of another.

    Raises:
        QueryError: what was opened is not one study.
        StorageError: the frozen study of one is missing or damaged in its table.
        CorruptFileError: a table is damaged.
    """
    names = _only_study(first), _only_study(second)
    settings = _differing(_frozen(first), _frozen(second), left_out=("name",))
    tables = [results.table("trials").sort_by("trial_id") for results in (first, second)]
    shared = [name for name in first.searched_columns() if name in second.searched_columns()]
    pairs, alone = paired_trials(tables[0].to_pylist(), tables[1].to_pylist(), [*_POINT, *shared])
    points = [*_POINT, *shared]
    schema = pa.schema([*(tables[0].schema.field(name) for name in points), *_ids("first_trial_id", "second_trial_id")])
    rows = [
        {name: one[name] for name in points} | {"first_trial_id": one["trial_id"], "second_trial_id": other["trial_id"]}
        for one, other in pairs
    ]
    only = [
        table.select(["trial_id", "status", *_POINT, *results.searched_columns()]).take(pa.array(indices, pa.int64()))
        for table, results, indices in zip(tables, (first, second), alone, strict=True)
    ]
    extra = dict.fromkeys(name for table in tables for name in extra_metric_columns(table.schema))
    means = _means(pairs, (*COMPARED, *extra))
    return StudyComparison(*names, settings, pa.Table.from_pylist(rows, schema), means, only[0], only[1])


def paired_trials(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], point: Sequence[str]
) -> tuple[list[tuple[Mapping[str, Any], Mapping[str, Any]]], tuple[list[int], list[int]]]:
    """Return the pairs of rows of two `trials` tables, and the indices of the rows of each that have no counterpart.

    Rows of one id are a pair. Of the others, those that have equal values in the columns of ``point``, where each table
    has these values once.
    """
    ids = {row["trial_id"] for row in first} & {row["trial_id"] for row in second}
    keyed: list[dict[object, int]] = []
    for rows in (first, second):
        keys = [row["trial_id"] if row["trial_id"] in ids else _values(row, point) for row in rows]
        counts = Counter(keys)
        keyed.append({key: index for index, key in enumerate(keys) if counts[key] == 1})
    both = [key for key in keyed[0] if key in keyed[1]]
    taken = [{keys[key] for key in both} for keys in keyed]
    alone = [
        [index for index in range(len(rows)) if index not in indices]
        for rows, indices in zip((first, second), taken, strict=True)
    ]
    return [(first[keyed[0][key]], second[keyed[1][key]]) for key in both], (alone[0], alone[1])


def _values(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    """Return the values of columns as a key: numbers that are equal are one key, whatever their type."""
    return json.dumps([float(v) if isinstance(v, int) else v for v in (row[name] for name in columns)])


def _only_study(results: Results) -> str:
    studies = results.studies()
    if len(studies) != 1:
        raise QueryError(f"comparison: {results.root} has {len(studies)} studies; open the folder of one")
    return studies[0]


def _frozen(results: Results) -> dict[str, Any]:
    rows = results.table("studies").to_pylist()
    if not rows or rows[0]["spec"] is None:
        raise StorageError(f"comparison: {results.root} has no frozen study in its table; `kd-sweep resume` writes it")
    return parse_frozen(rows[0]["spec"], f"{results.root}, table studies").spec.model_dump(mode="json")


def settings_of_study(results: Results) -> dict[str, Any]:
    """Return every field of a frozen study by its dotted name; empty where its table has none that can be read."""
    try:
        return _flat(_frozen(results))
    except StorageError:
        return {}


def _differing(first: dict[str, Any], second: dict[str, Any], left_out: Sequence[str] = ()) -> pa.Table:
    flat = [_flat(content) for content in (first, second)]
    rows = [
        {"field": name, "first": as_text(flat[0].get(name)), "second": as_text(flat[1].get(name))}
        for name in dict.fromkeys([*flat[0], *flat[1]])
        if name not in left_out and flat[0].get(name) != flat[1].get(name)
    ]
    return pa.Table.from_pylist(rows, _SETTINGS)


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return every value that is no mapping, and no list of mappings, by its dotted name: `objectives.0.metric`."""
    values: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
            values |= _flat({str(index): entry for index, entry in enumerate(value)}, f"{prefix}{name}.")
        elif isinstance(value, dict) and value:
            values |= _flat(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = value
    return values


def _side_by_side(column: str, first: float | None, second: float | None) -> dict[str, Any]:
    difference = None if first is None or second is None else second - first
    return {"column": column, "first": first, "second": second, "difference": difference}


def _means(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]], columns: Sequence[str]) -> pa.Table:
    finished = [pair for pair in pairs if all(row["status"] in FINISHED for row in pair)]
    rows = []
    for column in columns:
        sides = [(one.get(column), other.get(column)) for one, other in finished]
        values = [(one, other) for one, other in sides if one is not None and other is not None]
        if values:
            means = [sum(side) / len(values) for side in zip(*values, strict=True)]
            rows.append(_side_by_side(column, *means) | {"num_pairs": len(values)})
    return pa.Table.from_pylist(rows, _METRICS.append(pa.field("num_pairs", pa.int64())))


def _ids(*names: str) -> list[pa.Field]:
    return [pa.field(name, pa.string()) for name in names]

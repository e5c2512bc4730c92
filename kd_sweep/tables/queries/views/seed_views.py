"""Views of outcomes as means over seeds with intervals: dose-response, and agreement between teachers and student."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.study.metric_catalogue import DIFFERENCES
from kd_sweep.tables.queries.footnotes import footnotes
from kd_sweep.tables.queries.named_query import NamedQuery, Names, QueryParameters, with_remarks
from kd_sweep.tables.queries.setting_columns import DIMENSIONS, listed, ordered, without_empty
from kd_sweep.tables.queries.views.view_columns import (
    UNBALANCED_SQL,
    checked_metrics,
    left_out,
    settings_of,
    unbalanced,
)
from kd_sweep.tables.reader import Results

MAX_SETTINGS = 2_000
MAX_AGREEMENT_SETTINGS = 300
MAX_POINTS = 20_000
CONFIDENCE = 0.95

_PAIRS: tuple[tuple[str, str, str, str, str, str], ...] = (
    ("student", "ensemble", "class", "train", "fidelity_train", "NULL"),
    ("student", "ensemble", "class", "val", "fidelity_val", "NULL"),
    ("student", "ensemble", "class", "val_augmented", "fidelity_val_augmented", "NULL"),
    ("teacher", "teacher", "class", "val", "1 - diversity_teachers", "NULL"),
    ("student", "teacher", "attention", "val", "attention_iou_student", "attention_iou_student_chance"),
    ("teacher", "teacher", "attention", "val", "attention_iou_teachers", "attention_iou_teachers_chance"),
)
"""Who agrees with whom, in what, on which images, by which column, and what that would be by chance."""
_OF_COMPLETED = "FROM trials WHERE status = 'completed'"
_AGREEMENT = ("first", "second", "what", "split")
_ESTIMATE = (
    ("num_trials", pa.int64()),
    ("num_seeds", pa.int64()),
    ("mean", pa.float64()),
    ("std", pa.float64()),
    ("t_low", pa.float64()),
    ("t_high", pa.float64()),
)
_SEEDS = (
    ("seeds", pa.list_(pa.field("element", pa.int64()))),
    ("values", pa.list_(pa.field("element", pa.float64()))),
)


class DoseResponseParameters(QueryParameters):
    """Which outcome."""

    outcome: str = "val_accuracy"
    """A metric, `objective`, `best_objective`, `best_epoch`, `last_epoch` or `train_s`."""
    by: Names | None = None
    """The fields that make a setting, as columns of `trials`; all that are searched when left out."""


def dose_response(results: Results, parameters: DoseResponseParameters) -> pa.Table:
    """An outcome by strength, size and other searched fields: mean over seeds, interval, and each seed's value."""
    (outcome,) = checked_metrics(results, [parameters.outcome], "trials", "outcome")
    settings = settings_of(results, parameters.by, MAX_SETTINGS, "dose_response", DIMENSIONS)
    select = f'SELECT study, {_names(settings.columns)}seed, "{outcome}" AS value, NULL AS chance {_OF_COMPLETED}'
    rows = _with_intervals(_means(results, ["study", *settings.columns], select), _steps(results, [outcome]))
    num_points = sum(len(row["seeds"]) for row in rows)
    remarks = [*settings.remarks, *unbalanced(rows), *left_out(results), *footnotes(results, [outcome])]
    if num_points > MAX_POINTS:
        remarks.append(f"Without the values of single seeds: {num_points} are more than {MAX_POINTS}.")
        rows = [row | {"seeds": None, "values": None} for row in rows]
    return with_remarks(_table(results, rows, settings.columns, [], _SEEDS), remarks)


class AgreementParameters(QueryParameters):
    """Which settings."""

    by: Names | None = None
    """The fields that make a setting, as columns of `trials`; all that are searched when left out."""


def agreement(results: Results, parameters: AgreementParameters) -> pa.Table:
    """How far student, ensemble and teachers agree, by setting: mean over seeds of classes and attention regions."""
    settings = settings_of(results, parameters.by, MAX_AGREEMENT_SETTINGS, "agreement", DIMENSIONS)
    # Means over pairs of teachers; `agreement_matrix` has the single ones.
    select = " UNION ALL ".join(
        f"SELECT study, {_names(settings.columns)}seed, {index} AS pair, {column} AS value, {chance} AS chance "
        + _OF_COMPLETED
        for index, (*_, column, chance) in enumerate(_PAIRS)
    )
    groups = ["study", *settings.columns, "pair"]
    columns = [column.removeprefix("1 - ") for *_, column, _ in _PAIRS]
    rows = _with_intervals(_means(results, groups, select), _steps(results, columns))
    for row in rows:
        row |= dict(zip(_AGREEMENT, _PAIRS[row["pair"]], strict=False))
    keys = [(name, pa.string()) for name in _AGREEMENT]
    table = _table(results, rows, settings.columns, keys, [("chance", pa.float64())])
    remarks = [*settings.remarks, *unbalanced(rows), *left_out(results), *footnotes(results, columns)]
    return with_remarks(table, remarks)


def _names(columns: list[str]) -> str:
    return f"{listed(columns)}, " if columns else ""


def _means(results: Results, groups: list[str], select: str) -> list[dict[str, Any]]:
    """Return for each group its seeds with their values, each the mean of its trials."""
    keys = list(dict.fromkeys([*groups, "seed"]))
    query = f"""
        WITH of_seeds AS (
            SELECT {listed(keys)}, avg(value) AS value, avg(chance) AS chance, count(*) AS num_trials
            FROM ({select}) WHERE value IS NOT NULL GROUP BY {listed(keys)})
        SELECT {listed(groups)}, sum(num_trials)::BIGINT AS num_trials,
            {UNBALANCED_SQL}, avg(chance) AS chance,
            list(of_seeds.seed ORDER BY of_seeds.seed) AS seeds, list(value ORDER BY of_seeds.seed) AS values
        FROM of_seeds GROUP BY {listed(groups)} ORDER BY {ordered(groups)}"""
    rows: list[dict[str, Any]] = results.sql(query).to_pylist()
    return rows


def _steps(results: Results, metrics: Sequence[str]) -> dict[tuple[str, int], float]:
    """Return the resolution of each metric, by study and position, as `analyse` takes it: over completed trials."""
    from kd_sweep.statistics.resolution import resolutions

    parts = [part for metric in metrics for part in DIFFERENCES.get(metric, ())]
    names = list(dict.fromkeys([*metrics, *parts]))
    table = results.table("trials")
    trials: dict[str, list[dict[str, Any]]] = {}
    for row in table.filter(pc.equal(table["status"], "completed")).select(["study", *names]).to_pylist():
        trials.setdefault(row["study"], []).append(row)
    found = {study: resolutions(rows, names) for study, rows in trials.items()}
    return {(study, index): found[study][metric] for study in found for index, metric in enumerate(metrics)}


def _with_intervals(rows: list[dict[str, Any]], steps: Mapping[tuple[str, int], float]) -> list[dict[str, Any]]:
    """Add mean, spread and interval over its seeds to each row."""
    import numpy as np  # scipy behind it takes longer to load than most queries run

    from kd_sweep.statistics.intervals import MIN_CLUSTERS, half_width, spread
    from kd_sweep.statistics.resolution import ROUNDING

    for row in rows:
        values_S, number = np.asarray(row["values"]), len(row["values"])
        row |= {"num_seeds": number, "mean": float(values_S.mean()), "std": None, "t_low": None, "t_high": None}
        if number > 1:
            row["std"] = spread(values_S, ROUNDING * steps.get((row["study"], row.get("pair", 0)), 0.0))
        if row["std"] and number >= MIN_CLUSTERS:
            half = half_width(row["std"], number, CONFIDENCE)
            row |= {"t_low": row["mean"] - half, "t_high": row["mean"] + half}
    return rows


def _table(
    results: Results,
    rows: list[dict[str, Any]],
    columns: list[str],
    keys: Sequence[tuple[str, pa.DataType]],
    more: Sequence[tuple[str, pa.DataType]],
) -> pa.Table:
    trials = results.table("trials").schema
    fields = [trials.field(name) for name in dict.fromkeys(["study", *columns])]
    schema = pa.schema([*fields, *keys, *_ESTIMATE, *more])
    return without_empty(pa.Table.from_pylist(rows, schema), columns if rows else [])


SEED_VIEWS = (
    NamedQuery(
        dose_response,
        DoseResponseParameters,
        pa.schema(
            [
                ("study", pa.string()),
                *_ESTIMATE,
                *_SEEDS,
            ]
        ),
        MAX_SETTINGS,
    ),
    NamedQuery(
        agreement,
        AgreementParameters,
        pa.schema(
            [
                ("study", pa.string()),
                *((name, pa.string()) for name in _AGREEMENT),
                *_ESTIMATE,
                ("chance", pa.float64()),
            ]
        ),
        MAX_AGREEMENT_SETTINGS * len(_PAIRS),
    ),
)

"""Views of metrics that are lists, after the last epoch of trials: agreement of single networks, and calibration."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from kd_sweep.study.metric_catalogue import CALIBRATION_BINS
from kd_sweep.tables.queries.named_query import NamedQuery, Names, QueryParameters, with_remarks
from kd_sweep.tables.queries.setting_columns import DIMENSIONS, listed, ordered, without_empty
from kd_sweep.tables.queries.views.view_columns import UNBALANCED_SQL, Settings, left_out, settings_of, unbalanced
from kd_sweep.tables.reader import Results

MAX_MATRIX_SETTINGS = 300
MAX_PAIRS = 16 * 17 // 2
"""Of the most networks whose pairs a trial reports: 16 members and the student."""
MAX_RELIABILITY_SETTINGS = 300
STUDENT = "student"


class MatrixParameters(QueryParameters):
    """Which settings."""

    by: Names | None = None
    """The fields that make a setting, as columns of `trials`; all that are searched when left out."""


def agreement_matrix(results: Results, parameters: MatrixParameters) -> pa.Table:
    """How often two networks of a trial have the same top-1 class: each pair of members, the student and each."""
    settings = settings_of(results, parameters.by, MAX_MATRIX_SETTINGS, "agreement_matrix", DIMENSIONS)
    # What place a pair has in the list depends on the number of members.
    groups = list(dict.fromkeys(["study", *settings.columns, "ensemble_size"]))
    lists = ("agreement_teachers", "agreement_student")
    values = " UNION ALL ".join(
        f"SELECT *, {index} AS whose, generate_subscripts({name}, 1) AS place, unnest({name}) AS value FROM last"
        for index, name in enumerate(lists)
    )
    keys = [*groups, "whose", "place"]
    query = f"""
        WITH last AS ({_last_epochs(results, groups, lists)}),
            of_seeds AS (SELECT {listed(keys)}, seed, avg(value) AS value, count(*) AS num_trials
                FROM ({values}) WHERE value IS NOT NULL GROUP BY {listed(keys)}, seed)
        SELECT {listed(keys)}, sum(num_trials)::BIGINT AS num_trials, count(*) AS num_seeds, avg(value) AS mean,
            {UNBALANCED_SQL}
        FROM of_seeds GROUP BY {listed(keys)} ORDER BY {ordered(keys)}"""
    rows = results.sql(query).to_pylist()
    for row in rows:
        row["first"], row["second"] = _pair(row["ensemble_size"], row["whose"], row["place"])
    return _answer(results, rows, settings, groups, AGREEMENT_MATRIX_COLUMNS)


def _pair(num_members: int, whose: int, place: int) -> tuple[str, str]:
    """Return the names of the two networks whose agreement stands at a place, from 1, of a list."""
    if whose == 1:
        return STUDENT, f"teacher {place}"
    pairs = [(one, other) for one in range(1, num_members + 1) for other in range(one + 1, num_members + 1)]
    one, other = pairs[place - 1]
    return f"teacher {one}", f"teacher {other}"


class ReliabilityParameters(QueryParameters):
    """Which settings."""

    by: Names | None = None
    """The fields that make a setting, as columns of `trials`; all that are searched when left out."""


def reliability(results: Results, parameters: ReliabilityParameters) -> pa.Table:
    """How often student and ensemble are right by how sure they are: images of all seeds in bins of confidence."""
    settings = settings_of(results, parameters.by, MAX_RELIABILITY_SETTINGS, "reliability", DIMENSIONS)
    groups = ["study", *settings.columns]
    whom = {STUDENT: "student", "ensemble": "teachers"}
    names = [f"reliability_{what}_{who}" for who in whom.values() for what in ("count", "confidence", "accuracy")]
    # A seed is counted before its bins are rows, which are too many to be grouped by seed.
    bins = " UNION ALL ".join(
        f"""SELECT {listed(groups)}, '{word}' AS network, is_first, num_trials,
            generate_subscripts(reliability_count_{who}, 1) AS bin, unnest(reliability_count_{who}) AS number,
            unnest(reliability_confidence_{who}) AS sure, unnest(reliability_accuracy_{who}) AS share
            FROM (SELECT *, row_number() OVER of_seed = 1 AS is_first, count(*) OVER of_seed AS num_trials
                FROM last WHERE reliability_count_{who} IS NOT NULL
                WINDOW of_seed AS (PARTITION BY {listed(groups)}, seed))"""
        for word, who in whom.items()
    )
    keys = [*groups, "network", "bin"]
    query = f"""
        WITH last AS ({_last_epochs(results, groups, names)})
        SELECT {listed(keys)}, (bin - 1) / {CALIBRATION_BINS} AS low, bin / {CALIBRATION_BINS} AS high,
            count(*) AS num_trials, count(*) FILTER (is_first) AS num_seeds, sum(number)::BIGINT AS num_images,
            sum(number * sure) / sum(number) FILTER (sure IS NOT NULL) AS confidence,
            sum(number * share) / sum(number) FILTER (share IS NOT NULL) AS accuracy, {UNBALANCED_SQL}
        FROM ({bins}) GROUP BY {listed(keys)} ORDER BY {ordered(keys)}"""
    rows = results.sql(query).to_pylist()
    return _answer(results, rows, settings, groups, RELIABILITY_COLUMNS)


def _last_epochs(results: Results, groups: Sequence[str], lists: Sequence[str]) -> str:
    """Return the statement of lists after the last epoch of completed trials, with what keeps these apart.

    It says in numbers which epochs those are: a join alone reads the lists of all epochs, which are too many.
    """
    last = results.sql("SELECT DISTINCT last_epoch FROM trials WHERE status = 'completed' AND last_epoch > 0")
    epochs = ", ".join(str(epoch) for epoch in last["last_epoch"].to_pylist()) or "NULL"
    names = ", ".join(f't."{name}"' for name in groups)
    return f"""SELECT {names}, t.seed, {", ".join(f"e.{name}" for name in lists)}
        FROM trials AS t JOIN (SELECT * FROM epochs WHERE epoch IN ({epochs})) AS e
            ON e.study = t.study AND e.trial_id = t.trial_id AND e.epoch = t.last_epoch
        WHERE t.status = 'completed'"""


def _answer(
    results: Results, rows: list[dict[str, Any]], settings: Settings, groups: Sequence[str], columns: pa.Schema
) -> pa.Table:
    trials = results.sql(f"SELECT {listed(groups)} FROM trials LIMIT 0").schema
    own = [trials.field(name) for name in groups if name not in columns.names]
    schema = pa.schema([columns.field("study"), *own, *(field for field in columns if field.name != "study")])
    table = pa.Table.from_pylist(rows, schema)
    remarks = [*settings.remarks, *unbalanced(rows), *left_out(results), *_without_lists(results)]
    return with_remarks(without_empty(table, settings.columns if rows else []), remarks)


def _without_lists(results: Results) -> list[str]:
    """Return the remark that rows of earlier versions have no lists, where there are some."""
    query = "SELECT count(*) AS number FROM trials WHERE status = 'completed' AND coalesce(metrics_version, 1) < 3"
    number = results.sql(query)["number"][0].as_py()
    return [f"Without {number} trial{'s' * (number > 1)} whose metrics are of version 2 or before."] if number else []


AGREEMENT_MATRIX_COLUMNS = pa.schema(
    [
        ("study", pa.string()),
        ("first", pa.string()),
        ("second", pa.string()),
        ("num_trials", pa.int64()),
        ("num_seeds", pa.int64()),
        ("mean", pa.float64()),
    ]
)
RELIABILITY_COLUMNS = pa.schema(
    [
        ("study", pa.string()),
        ("network", pa.string()),
        ("bin", pa.int64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("num_trials", pa.int64()),
        ("num_seeds", pa.int64()),
        ("num_images", pa.int64()),
        ("confidence", pa.float64()),
        ("accuracy", pa.float64()),
    ]
)
LIST_VIEWS = (
    NamedQuery(agreement_matrix, MatrixParameters, AGREEMENT_MATRIX_COLUMNS, MAX_MATRIX_SETTINGS * MAX_PAIRS),
    NamedQuery(
        reliability, ReliabilityParameters, RELIABILITY_COLUMNS, MAX_RELIABILITY_SETTINGS * 2 * CALIBRATION_BINS
    ),
)

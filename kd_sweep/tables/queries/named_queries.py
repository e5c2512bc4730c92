"""Named queries: the tables that `kd-sweep query NAME` prints without SQL."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pyarrow as pa

from kd_sweep.errors import QueryError, alternatives
from kd_sweep.study.caveats import CAM
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.tables.queries.sql import statements
from kd_sweep.tables.reader import DEFAULT_OBJECTIVE, Results
from kd_sweep.tables.schema import FINISHED

_DIMENSIONS = ("augmentation_strength", "ensemble_size")
_OUTCOMES = (
    "val_accuracy",
    "fidelity_val",
    "attention_iou_teachers",
    "attention_overlap_teachers",
    "attention_overlap_student",
    "generalization_gap",
)
_TREND = (
    "val_accuracy",
    "fidelity_val",
    "attention_iou_teachers",
    "generalization_gap",
    "train_loss",
    "train_accuracy",
)
_AT_BEST = (
    "val_accuracy",
    "generalization_gap",
    *(name for name, metric in REPORTED_METRICS.items() if metric.kind == "paper code"),
)
_FINISHED_SQL = "status IN (" + ", ".join(f"'{status}'" for status in FINISHED) + ")"


def summary(results: Results) -> pa.Table:
    """One row per configuration: outcomes of its finished trials, mean over seeds.

    Columns: `study`, the searched fields but `seed`, `num_trials`, each outcome, extra metrics last, and
    `<outcome>_std` (sample standard deviation) where a configuration has more than one trial.
    """
    groups = ["study", *_searched(results)]
    extra = results.extra_metrics()
    outcomes = [*_OUTCOMES, *extra]
    means = [f"avg({name}) AS {name}" for name in outcomes]
    spreads = [f"stddev_samp({name}) AS {name}_std" for name in outcomes]
    query = f"""
        SELECT {_list(groups)}, count(*) AS num_trials, {", ".join(means + spreads)}
        FROM trials WHERE {_FINISHED_SQL}
        GROUP BY {_list(groups)} ORDER BY {_ordered(groups)}"""
    answer = results.sql(query)
    return _without_empty(answer, [f"{name}_std" for name in outcomes] + extra + groups[3:])


def leaderboard(results: Results) -> pa.Table:
    """Trials by the last value of their study's first objective, best first, with their rank in the study.

    Extra metrics are columns too.
    """
    answers, extra = [], results.extra_metrics()
    searched = [*_searched(results), "seed"]
    for name, (objective, *_) in _objectives(results).items():
        direction = "DESC" if objective["mode"] == "max" else "ASC"
        others = [name for name in ("val_accuracy", "fidelity_val", *extra) if name != objective["metric"]]
        query = f"""
            SELECT study, row_number() OVER (ORDER BY objective {direction}, trial_id) AS rank, trial_id,
                $metric AS objective_metric, objective, {_list(searched)}, status, best_objective, best_epoch,
                last_epoch, {_list(others)}, train_s
            FROM trials WHERE study = $study AND objective IS NOT NULL
            ORDER BY rank"""
        answers.append(results.sql(query, {"study": name, "metric": objective["metric"]}))
    answer = pa.concat_tables(answers, promote_options="default")
    return _without_empty(answer, [*searched[2:], *(name for name in extra if name in answer.column_names)])


def points(results: Results) -> pa.Table:
    """Points by the mean of their study's first objective over seeds, best first, with their rank in the study.

    Of finished trials. Columns beside: the sample standard deviation, and how many trials the mean is of.
    """
    answers = []
    searched = _searched(results)
    for name, (objective, *_) in _objectives(results).items():
        direction = "DESC" if objective["mode"] == "max" else "ASC"
        order = f"avg(objective) {direction}, {_ordered(searched)}"
        query = f"""
            SELECT study, row_number() OVER (ORDER BY {order}) AS rank, $metric AS objective_metric,
                avg(objective) AS objective, stddev_samp(objective) AS objective_std, count(*) AS num_trials,
                {_list(searched)}
            FROM trials WHERE study = $study AND {_FINISHED_SQL} AND objective IS NOT NULL
            GROUP BY {_list(["study", *searched])} ORDER BY rank"""
        answers.append(results.sql(query, {"study": name, "metric": objective["metric"]}))
    answer = pa.concat_tables(answers, promote_options="default")
    return _without_empty(answer, ["objective_std", *searched[2:]])


def trend(results: Results) -> pa.Table:
    """One row per configuration and epoch: means over the trials that reached the epoch, and how many they are."""
    searched, asked_for = _searched(results), results.extra_metrics("epochs")
    extra = searched[2:]
    joined = f"JOIN (SELECT study, trial_id, {_list(extra)} FROM trials) USING (study, trial_id)" if extra else ""
    means = ", ".join(f"avg({name}) AS {name}" for name in (*_TREND, *asked_for))
    # One study's name is not read from millions of rows.
    studies = results.studies()
    named, parameters = ("$study AS study", {"study": studies[0]}) if len(studies) == 1 else ("study", None)
    groups = [*searched, "epoch"] if len(studies) == 1 else ["study", *searched, "epoch"]
    query = f"""
        SELECT {named}, {_list([*searched, "epoch"])}, count(*) AS num_trials, {means}
        FROM epochs {joined} GROUP BY {_list(groups)} ORDER BY {_ordered(groups)}"""
    return _without_empty(results.sql(query, parameters), [*extra, *asked_for])


def best_epoch(results: Results) -> pa.Table:
    """One row per trial: the epoch of its best accuracy on clean validation images, the first of equals, and the
    metrics of that epoch that compare with published values, and extra ones. Trials that still run are at their best
    so far.
    """
    metrics = [*_AT_BEST, *results.extra_metrics("epochs")]
    searched = [*_searched(results), "seed"]
    extra = searched[2:-1]
    keys = ["study", "trial_id", "status", *searched, "epoch"]
    of_trials = _list(["study", "trial_id", "status", *extra])
    query = f"""
        SELECT {_list([*keys, *metrics])}
        FROM epochs JOIN (SELECT {of_trials} FROM trials) USING (study, trial_id)
        QUALIFY row_number() OVER (
            PARTITION BY study, trial_id ORDER BY val_accuracy DESC NULLS LAST, epoch
        ) = 1
        ORDER BY {_ordered(["study", *searched, "trial_id"])}"""
    return _without_empty(results.sql(query), [*extra, *metrics])


def teachers(results: Results) -> pa.Table:
    """The teachers of each study, with how many of its trials learn from each.

    `num_trials` is null where the study also searches fields that make teachers differ.
    """
    extra = _searched(results)[2:]
    teaching = [name for name in extra if name.startswith(("teacher_", "data_", "augmentation_"))]
    differs = " OR ".join(f'trials."{name}" IS NOT NULL' for name in teaching) or "false"
    query = f"""
        SELECT teachers.study, teacher_id, model, teachers.augmentation_strength, teachers.seed, member,
            teachers.val_accuracy, teachers.train_accuracy, epochs, num_parameters, teachers.train_s,
            CASE WHEN coalesce(bool_or({differs}), false) THEN NULL ELSE count(trials.trial_id) END AS num_trials
        FROM teachers LEFT JOIN trials ON trials.study = teachers.study AND trials.seed = teachers.seed
            AND trials.augmentation_strength = teachers.augmentation_strength AND trials.ensemble_size >= member
        GROUP BY ALL
        ORDER BY teachers.study, teachers.augmentation_strength, teachers.seed, member, teacher_id"""
    return results.sql(query)


def pareto(results: Results) -> pa.Table:
    """The finished trials that no other beats: none is as good in every objective and better in one.

    Trials without a value for every objective are left out. Sorted by the first objective, best first.
    """
    searched = [*_searched(results), "seed"]
    answers = []
    for name, objectives in _objectives(results).items():
        metrics = list(dict.fromkeys(objective["metric"] for objective in objectives))
        columns = ["study", "trial_id", *metrics, *searched, "status", "last_epoch"]
        present = " AND ".join(f'"{metric}" IS NOT NULL' for metric in metrics)
        query = f"SELECT {_list(columns)} FROM trials WHERE study = $study AND {_FINISHED_SQL} AND {present}"
        trials = results.sql(query, {"study": name})
        signs = [-1.0 if objective["mode"] == "max" else 1.0 for objective in objectives]
        values = [trials[objective["metric"]].to_pylist() for objective in objectives]
        points = [
            tuple(sign * value for sign, value in zip(signs, row, strict=True)) for row in zip(*values, strict=True)
        ]
        answers.append(trials.take(pa.array(non_dominated(points), pa.int64())))
    return _without_empty(pa.concat_tables(answers, promote_options="default"), searched[2:])


def non_dominated(points: Sequence[tuple[float, ...]]) -> list[int]:
    """Return the indices of the points, all coordinates minimised, that no other dominates, least first.

    A point dominates another if it is no greater in every coordinate and less in one; equal points stay together.
    """
    front: list[int] = []
    # Sorted, a point can only be dominated by one before it.
    for index in sorted(range(len(points)), key=points.__getitem__):
        point = points[index]
        if not any(
            points[other] != point and all(a <= b for a, b in zip(points[other], point, strict=True)) for other in front
        ):
            front.append(index)
    return front


NAMED_QUERIES: dict[str, Callable[[Results], pa.Table]] = {
    query.__name__: query for query in (summary, leaderboard, points, trend, best_epoch, pareto, teachers)
}


def answer(results: Results, name: str) -> pa.Table:
    """Return the answer to a named query; `QueryError` for an unknown name."""
    if name not in NAMED_QUERIES:
        raise QueryError(f"query: {name!r} is not a named query; {alternatives(name, NAMED_QUERIES)}")
    return NAMED_QUERIES[name](results)


def answers(results: Results, question: str, *, one: bool = False) -> list[pa.Table]:
    """Return the answer to a named query, or to each statement of a text of SQL.

    Args:
        results: the tables to query.
        question: the name, or the SQL.
        one: refuse more than one statement.

    Raises:
        QueryError: an unknown name, SQL that is wrong or writes, none at all, or too much of it. One line.
    """
    if question.strip().isidentifier():
        return [answer(results, question.strip())]
    parsed = statements(question)
    if len(parsed) > 1 and one:
        raise QueryError(f"SQL: {len(parsed)} statements, where one is needed; --format table takes several")
    return [results.sql(statement) for statement in parsed or [question]]


def footnotes(results: Results, columns: Iterable[str], study: str | None = None) -> list[str]:
    """Return the warnings about the values of these columns, a line each.

    Args:
        results: the tables of the values.
        columns: names, or expressions that hold names.
        study: its name; None for all.
    """
    if not any("attention_" in name for name in columns):
        return []
    # A configuration is canonical JSON with every field.
    query = """SELECT count(*) AS number FROM trials
        WHERE contains(config, '"attention":"cam"') AND ($study IS NULL OR study = $study)"""
    return [CAM] if results.sql(query, {"study": study})["number"][0].as_py() else []


def _searched(results: Results) -> list[str]:
    """Return the columns of the searched fields but `seed`: the two main ones, then those that studies added.

    Last are versions of plug-ins, where there are several: trials of two are never averaged.
    """
    return [*_DIMENSIONS, *results.searched_columns(), *results.varying_sources()]


def _objectives(results: Results) -> dict[str, list[dict[str, str]]]:
    rows = {row["study"]: row["objectives"] for row in results.table("studies").to_pylist()}
    return {name: json.loads(rows.get(name) or "[]") or [DEFAULT_OBJECTIVE] for name in results.studies()}


def _list(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def _ordered(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}" NULLS LAST' for name in columns)


def _without_empty(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Drop those of the columns that hold nothing."""
    empty: list[Any] = [name for name in columns if table[name].null_count == table.num_rows]
    return table.drop_columns(empty) if empty else table

"""Named queries: the tables that `kd-sweep query NAME` prints without SQL."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from kd_sweep.errors import QueryError, alternatives
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.tables.epoch_scan import snapshot
from kd_sweep.tables.queries.named_query import NamedQuery, without_parameters
from kd_sweep.tables.queries.setting_columns import FINISHED_SQL, listed, ordered, searched_fields, without_empty
from kd_sweep.tables.queries.sql import statements
from kd_sweep.tables.queries.views.augmentation_plane import AFFINITY_PLANE
from kd_sweep.tables.queries.views.dominated_area import DOMINATED_AREA
from kd_sweep.tables.queries.views.epoch_views import EPOCH_VIEWS
from kd_sweep.tables.queries.views.list_views import LIST_VIEWS
from kd_sweep.tables.queries.views.neighbouring_trials import NEIGHBOURS
from kd_sweep.tables.queries.views.ranked_trials import PARALLEL
from kd_sweep.tables.queries.views.run_views import RUN_VIEWS
from kd_sweep.tables.queries.views.seed_views import SEED_VIEWS
from kd_sweep.tables.queries.views.view_columns import OF_EPOCHS
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import EPOCHS, extra_metric_columns

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


def summary(results: Results) -> pa.Table:
    """One row per configuration: outcomes of its finished trials, mean over seeds.

    Columns: `study`, the searched fields but `seed`, `num_trials`, each outcome, extra metrics last, and
    `<outcome>_std` (sample standard deviation) where a configuration has more than one trial.
    """
    groups = ["study", *searched_fields(results)]
    extra = results.extra_metrics()
    outcomes = [*_OUTCOMES, *extra]
    means = [f"avg({name}) AS {name}" for name in outcomes]
    spreads = [f"stddev_samp({name}) AS {name}_std" for name in outcomes]
    query = f"""
        SELECT {listed(groups)}, count(*) AS num_trials, {", ".join(means + spreads)}
        FROM trials WHERE {FINISHED_SQL}
        GROUP BY {listed(groups)} ORDER BY {ordered(groups)}"""
    answer = results.sql(query)
    return without_empty(answer, [f"{name}_std" for name in outcomes] + extra + groups[3:])


def leaderboard(results: Results) -> pa.Table:
    """Trials by the last value of their study's first objective, best first, with their rank in the study.

    Extra metrics are columns too.
    """
    answers, extra = [], results.extra_metrics()
    searched = [*searched_fields(results), "seed"]
    for name, (objective, *_) in results.objectives().items():
        direction = "DESC" if objective["mode"] == "max" else "ASC"
        others = [name for name in ("val_accuracy", "fidelity_val", *extra) if name != objective["metric"]]
        query = f"""
            SELECT study, row_number() OVER (ORDER BY objective {direction}, trial_id) AS rank, trial_id,
                $metric AS objective_metric, objective, {listed(searched)}, status, best_objective, best_epoch,
                last_epoch, {listed(others)}, train_s
            FROM trials WHERE study = $study AND objective IS NOT NULL
            ORDER BY rank"""
        answers.append(results.sql(query, {"study": name, "metric": objective["metric"]}))
    answer = pa.concat_tables(answers, promote_options="default")
    return without_empty(answer, [*searched[2:], *(name for name in extra if name in answer.column_names)])


def points(results: Results) -> pa.Table:
    """Points by the mean of their study's first objective over seeds, best first, with their rank in the study.

    Of finished trials. Columns beside: the sample standard deviation, and how many trials the mean is of.
    """
    answers = []
    searched = searched_fields(results)
    for name, (objective, *_) in results.objectives().items():
        direction = "DESC" if objective["mode"] == "max" else "ASC"
        order = f"avg(objective) {direction}, {ordered(searched)}"
        query = f"""
            SELECT study, row_number() OVER (ORDER BY {order}) AS rank, $metric AS objective_metric,
                avg(objective) AS objective, stddev_samp(objective) AS objective_std, count(*) AS num_trials,
                {listed(searched)}
            FROM trials WHERE study = $study AND {FINISHED_SQL} AND objective IS NOT NULL
            GROUP BY {listed(["study", *searched])} ORDER BY rank"""
        answers.append(results.sql(query, {"study": name, "metric": objective["metric"]}))
    answer = pa.concat_tables(answers, promote_options="default")
    return without_empty(answer, ["objective_std", *searched[2:]])


def trend(results: Results) -> pa.Table:
    """One row per configuration and epoch: means over the trials that reached the epoch, and how many they are."""
    searched, asked_for = searched_fields(results), results.extra_metrics("epochs")
    extra = searched[2:]
    joined = f"JOIN (SELECT study, trial_id, {listed(extra)} FROM trials) USING (study, trial_id)" if extra else ""
    means = ", ".join(f"avg({name}) AS {name}" for name in (*_TREND, *asked_for))
    # One study's name is not read from millions of rows.
    studies = results.studies()
    named, parameters = ("$study AS study", {"study": studies[0]}) if len(studies) == 1 else ("study", None)
    groups = [*searched, "epoch"] if len(studies) == 1 else ["study", *searched, "epoch"]
    query = f"""
        SELECT {named}, {listed([*searched, "epoch"])}, count(*) AS num_trials, {means}
        FROM epochs {joined} GROUP BY {listed(groups)} ORDER BY {ordered(groups)}"""
    return without_empty(results.sql(query, parameters), [*extra, *asked_for])


def best_epoch(results: Results) -> pa.Table:
    """One row per trial: the epoch of its best accuracy on clean validation images, the first of equals, and the
    metrics of that epoch that compare with published values, and extra ones. Trials that still run are at their best
    so far.
    """
    metrics = [*_AT_BEST, *results.extra_metrics("epochs")]
    searched = [*searched_fields(results), "seed"]
    extra = searched[2:-1]
    keys = ["study", "trial_id", "status", *searched, "epoch"]
    of_trials = listed(["study", "trial_id", "status", *extra])
    # Each trial's best value first, then its first epoch: rows put in order would be those of all epochs.
    query = f"""
        WITH best AS (SELECT study, trial_id, max(val_accuracy) AS most FROM epochs GROUP BY study, trial_id),
            firsts AS (SELECT study, trial_id, min(epoch) AS epoch FROM epochs JOIN best USING (study, trial_id)
                WHERE val_accuracy IS NOT DISTINCT FROM most GROUP BY study, trial_id)
        SELECT {listed([*keys, *metrics])}
        FROM epochs JOIN firsts USING (study, trial_id, epoch)
            JOIN (SELECT {of_trials} FROM trials) USING (study, trial_id)
        ORDER BY {ordered(["study", *searched, "trial_id"])}"""
    return without_empty(results.sql(query), [*extra, *metrics])


def metrics(results: Results) -> pa.Table:
    """The metrics that epochs have, each with how many have a value of it: what `curves` and `bands` can draw.

    Columns: `study`, `metric`, `num_values`.
    """
    rows = []
    for name, root in results.select().items():
        epochs = snapshot([root])
        known = [*REPORTED_METRICS, *extra_metric_columns(epochs.dataset.schema, EPOCHS), *OF_EPOCHS]
        numbers = [metric for metric in known if not pa.types.is_list(epochs.dataset.schema.field(metric).type)]
        rows += [{"study": name, "metric": metric, "num_values": n} for metric, n in epochs.num_values(numbers).items()]
    columns = pa.schema([("study", pa.string()), ("metric", pa.string()), ("num_values", pa.int64())])
    return pa.Table.from_pylist([row for row in rows if row["num_values"]], columns)


_OF_TEACHERS = (
    *("teacher_", "teachers_", "data_", "augmentation_"),
    *("distillation_teacher_control", "distillation_ensemble_epochs"),
)
"""What the columns of searched fields begin with that make teachers differ."""


def teachers(results: Results) -> pa.Table:
    """The teachers of each study, with how many of its trials learn from each.

    `num_trials` is null where strength, seed and member do not say which teacher a trial has.
    """
    extra = searched_fields(results)[2:]
    teaching = [name for name in extra if name.startswith(_OF_TEACHERS)]
    differs = " OR ".join(f'trials."{name}" IS NOT NULL' for name in teaching) or "false"
    query = f"""
        SELECT teachers.study, teacher_id, model, teachers.augmentation_strength, teachers.seed, member, control,
            teachers.val_accuracy, teachers.train_accuracy, epochs, num_parameters, teachers.train_s,
            CASE WHEN coalesce(bool_or({differs}), false) OR bool_or(num_alike > 1) THEN NULL
                ELSE count(trials.trial_id) END AS num_trials
        FROM (SELECT *, count(*) OVER (PARTITION BY study, augmentation_strength, seed, member) AS num_alike
            FROM teachers) AS teachers LEFT JOIN trials ON trials.study = teachers.study AND trials.seed = teachers.seed
            AND trials.augmentation_strength = teachers.augmentation_strength AND trials.ensemble_size >= member
        GROUP BY ALL
        ORDER BY teachers.study, teachers.augmentation_strength, teachers.seed, member, teacher_id"""
    return results.sql(query)


def pareto(results: Results) -> pa.Table:
    """The finished trials that no other beats: none is as good in every objective and better in one.

    Trials without a value for every objective are left out. Sorted by the first objective, best first.
    """
    searched = [*searched_fields(results), "seed"]
    answers = []
    for name, objectives in results.objectives().items():
        metrics = list(dict.fromkeys(objective["metric"] for objective in objectives))
        columns = ["study", "trial_id", *metrics, *searched, "status", "last_epoch"]
        present = " AND ".join(f'"{metric}" IS NOT NULL' for metric in metrics)
        query = f"SELECT {listed(columns)} FROM trials WHERE study = $study AND {FINISHED_SQL} AND {present}"
        trials = results.sql(query, {"study": name})
        signs = [-1.0 if objective["mode"] == "max" else 1.0 for objective in objectives]
        values = [trials[objective["metric"]].to_pylist() for objective in objectives]
        points = [
            tuple(sign * value for sign, value in zip(signs, row, strict=True)) for row in zip(*values, strict=True)
        ]
        answers.append(trials.take(pa.array(non_dominated(points), pa.int64())))
    return without_empty(pa.concat_tables(answers, promote_options="default"), searched[2:])


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


_ALL = 20
"""How many names a message has."""

NAMED_QUERIES: dict[str, NamedQuery] = {
    query.name: query
    for query in (
        *map(without_parameters, (summary, leaderboard, points, trend, best_epoch, pareto, metrics, teachers)),
        *EPOCH_VIEWS,
        *SEED_VIEWS,
        *LIST_VIEWS,
        AFFINITY_PLANE,
        DOMINATED_AREA,
        PARALLEL,
        NEIGHBOURS,
        *RUN_VIEWS,
    )
}
"""All that `kd-sweep query ROOT NAME` answers, by name."""


def answer(results: Results, name: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
    """Return the answer to a named query.

    Args:
        results: the tables to query.
        name: of the query.
        parameters: by name; text stands for numbers and lists too. Those left out have their defaults.

    Raises:
        QueryError: an unknown name, or a parameter that is unknown, missing or wrong. One line.
    """
    if name not in NAMED_QUERIES:
        raise QueryError(f"query: {name!r} is not a named query; {alternatives(name, NAMED_QUERIES, _ALL)}")
    return NAMED_QUERIES[name].answer(results, parameters or {})


def answers(
    results: Results, question: str, parameters: Mapping[str, Any] | None = None, *, one: bool = False
) -> list[pa.Table]:
    """Return the answer to a named query, or to each statement of a text of SQL.

    Args:
        results: the tables to query.
        question: the name, or the SQL.
        parameters: of the named query; SQL has none.
        one: refuse more than one statement.

    Raises:
        QueryError: an unknown name, SQL that is wrong or writes, none at all, or too much of it. One line.
    """
    if question.strip().isidentifier():
        return [answer(results, question.strip(), parameters)]
    if parameters:
        raise QueryError(f"SQL: has no parameters; those of a named query: {', '.join(NAMED_QUERIES)}")
    parsed = statements(question)
    if len(parsed) > 1 and one:
        raise QueryError(f"SQL: {len(parsed)} statements, where one is needed; --format table takes several")
    return [results.sql(statement) for statement in parsed or [question]]

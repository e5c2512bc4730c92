"""Trials by their rank, and of very many a sample that is even over the ranks; the view for parallel coordinates."""

from collections.abc import Sequence

import pyarrow as pa
from pydantic import Field

from kd_sweep.tables.queries.named_query import NamedQuery, Names, QueryParameters, with_remarks
from kd_sweep.tables.queries.setting_columns import listed, searched_fields, without_empty
from kd_sweep.tables.queries.views.view_columns import checked_metrics
from kd_sweep.tables.reader import Results

MAX_TRIALS = 2_000
MAX_OUTCOMES = 12


class ParallelParameters(QueryParameters):
    """Which outcomes."""

    outcomes: Names = Field(default=(), max_length=MAX_OUTCOMES)
    """Metrics, `best_objective`, `best_epoch`, `last_epoch` or `train_s`; left out: objectives, accuracy, fidelity."""


def parallel(results: Results, parameters: ParallelParameters) -> pa.Table:
    """Settings and outcomes side by side: one row per trial that has a value of its study's first objective."""
    metrics = outcomes_of(results, parameters.outcomes)
    columns = [*searched_fields(results), "seed"]
    answer = spread_over_ranks(results, MAX_TRIALS, ["status", *columns, *metrics], ranked=True)
    number = sum(dict(zip(answer["study"].to_pylist(), answer["num_trials"].to_pylist(), strict=True)).values())
    remarks = [f"{answer.num_rows} of {number} trials, evenly over their ranks."] if number > answer.num_rows else []
    return with_remarks(without_empty(answer, columns[2:-1]), remarks)


def outcomes_of(results: Results, names: Sequence[str]) -> list[str]:
    """Return the outcomes that are asked for; of none the objectives, `val_accuracy` and `fidelity_val`.

    Raises:
        QueryError: one is no outcome of these studies. One line.
    """
    objectives = [objective["metric"] for study in results.objectives().values() for objective in study]
    return checked_metrics(results, names or (*objectives, "val_accuracy", "fidelity_val"), "trials", "outcomes")


def spread_over_ranks(results: Results, most: int, columns: Sequence[str], *, ranked: bool = False) -> pa.Table:
    """Return trials by rank, best first: all of them, or a sample with the first and the last, evenly spread.

    Columns: `study`, `rank`, `num_trials` (that are ranked), `trial_id`, and ``columns``. Of several studies each gets
    its share of ``most``.

    Args:
        results: whose trials.
        most: rows in all.
        columns: of `trials`.
        ranked: leave out those that have no objective yet; else they come last.
    """
    objectives = results.objectives()
    share = max(most // max(len(objectives), 1), 1)
    answers = []
    for study, (objective, *_) in objectives.items():
        direction = "DESC" if objective["mode"] == "max" else "ASC"
        # Of n ranks those are taken at which the count of `share` equal steps from 0 to n - 1 goes up.
        query = f"""
            SELECT study, rank, num_trials, {listed(["trial_id", *columns])} FROM (
                SELECT *, row_number() OVER (ORDER BY objective {direction} NULLS LAST, trial_id) AS rank,
                    count(*) OVER () AS num_trials
                FROM trials WHERE study = $study {"AND objective IS NOT NULL" if ranked else ""})
            WHERE num_trials <= {share} OR rank = 1 OR
                (rank - 1) * {share - 1} // (num_trials - 1) > (rank - 2) * {share - 1} // (num_trials - 1)
            ORDER BY rank"""
        answers.append(results.sql(query, {"study": study}))
    return pa.concat_tables(answers, promote_options="default")


PARALLEL = NamedQuery(
    parallel,
    ParallelParameters,
    pa.schema(
        [
            ("study", pa.string()),
            ("rank", pa.int64()),
            ("num_trials", pa.int64()),
            ("trial_id", pa.string()),
            ("status", pa.string()),
            ("seed", pa.int64()),
        ]
    ),
    MAX_TRIALS,
)

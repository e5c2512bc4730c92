"""The view of affinity, diversity and accuracy relative to clean images, a row for each setting."""

import pyarrow as pa

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

MAX_SETTINGS = 500
_STRENGTHS = ("augmentation_strength", "student_strength")


class PlaneParameters(QueryParameters):
    """Which outcome."""

    outcome: str = "val_accuracy"
    """A metric, `objective`, `best_objective`, `best_epoch`, `last_epoch` or `train_s`."""
    by: Names | None = None
    """The fields that make a setting, as columns of `trials`; all that are searched when left out."""


def affinity_plane(results: Results, parameters: PlaneParameters) -> pa.Table:
    """Affinity and diversity of each augmentation, and an outcome relative to that of the same trials at strength 0."""
    (outcome,) = checked_metrics(results, [parameters.outcome], "trials", "outcome")
    settings = settings_of(results, parameters.by, MAX_SETTINGS, "affinity_plane", DIMENSIONS)
    groups = ["study", *settings.columns]
    has = results.table("trials").column_names
    strengths = [name for name in _STRENGTHS if name in has]
    clean = " AND ".join(f"coalesce({name}, 0) = 0" for name in strengths)
    # A strength of each teacher is one of the strengths, by another name.
    same = [name for name in groups if name not in (*strengths, "teacher_strengths")]
    joined = " AND ".join(f's."{name}" IS NOT DISTINCT FROM c."{name}"' for name in [*same, "seed"])
    query = f"""
        WITH of_seeds AS (
                SELECT {listed(groups)}, seed, avg(affinity) AS affinity, avg(diversity) AS diversity,
                    avg("{outcome}") AS value, count(*) AS num_trials
                FROM trials WHERE status = 'completed' AND affinity IS NOT NULL AND diversity IS NOT NULL
                    AND "{outcome}" IS NOT NULL
                GROUP BY {listed(groups)}, seed),
            clean AS (SELECT {listed(same)}, seed, avg("{outcome}") AS value
                FROM trials WHERE status = 'completed' AND "{outcome}" IS NOT NULL AND {clean}
                GROUP BY {listed(same)}, seed)
        SELECT {", ".join(f's."{name}" AS "{name}"' for name in groups)},
            sum(s.num_trials)::BIGINT AS num_trials, count(*) AS num_seeds, avg(s.affinity) AS affinity,
            avg(s.diversity) AS diversity, avg(s.value) AS mean, count(c.value) AS num_pairs,
            avg(s.value - c.value) AS relative, {UNBALANCED_SQL}
        FROM of_seeds AS s LEFT JOIN clean AS c ON {joined}
        GROUP BY {", ".join(f's."{name}"' for name in groups)} ORDER BY {ordered(groups)}"""
    answer = results.sql(query)
    uneven = unbalanced(answer.select(["is_unbalanced"]).to_pylist())
    remarks = [*settings.remarks, *uneven, *left_out(results), *footnotes(results, [outcome])]
    return with_remarks(without_empty(answer.drop_columns("is_unbalanced"), settings.columns), remarks)


AFFINITY_PLANE = NamedQuery(
    affinity_plane,
    PlaneParameters,
    pa.schema(
        [
            ("study", pa.string()),
            ("num_trials", pa.int64()),
            ("num_seeds", pa.int64()),
            ("affinity", pa.float64()),
            ("diversity", pa.float64()),
            ("mean", pa.float64()),
            ("num_pairs", pa.int64()),
            ("relative", pa.float64()),
        ]
    ),
    MAX_SETTINGS,
)

"""A trial against its neighbours: those of its study that differ from it in one searched field, or in the seed."""

from typing import Any

import pyarrow as pa

from kd_sweep.tables.queries.named_query import NamedQuery, with_remarks
from kd_sweep.tables.queries.setting_columns import listed, searched_fields
from kd_sweep.tables.queries.views.ranked_trials import ParallelParameters, outcomes_of, spread_over_ranks
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import as_text
from kd_sweep.tables.trial_lookup import matching_id

MAX_TRIALS = 500
_COLUMNS = pa.schema(
    [
        ("study", pa.string()),
        ("trial_id", pa.string()),
        ("status", pa.string()),
        ("varied", pa.string()),
        ("own_value", pa.string()),
        ("value", pa.string()),
    ]
)


class NeighboursParameters(ParallelParameters):
    """Which trial."""

    trial: str | None = None
    """Its id, or an unequivocal beginning; left out: the best of each study."""


def neighbours(results: Results, parameters: NeighboursParameters) -> pa.Table:
    """A trial, then those that differ from it in one searched field or the seed: in which, both values, outcomes."""
    metrics = outcomes_of(results, parameters.outcomes)
    fields = [*searched_fields(results), "seed"]
    rows: list[dict[str, Any]] = []
    remarks = []
    trials = _trials(results, parameters.trial)
    most = MAX_TRIALS // max(len(trials), 1) - 1
    for study, trial in trials:
        own, *others = _with_neighbours(results, study, trial, fields, metrics)
        rows += [own, *others[:most]]
        if len(others) > most:
            remarks.append(f"The first {most} of {len(others)} neighbours of {trial}, field by field.")
    outcomes = results.sql(f"SELECT {listed(metrics)} FROM trials LIMIT 0").schema
    return with_remarks(pa.Table.from_pylist(rows, pa.schema([*_COLUMNS, *outcomes])), remarks)


def _trials(results: Results, beginning: str | None) -> list[tuple[str, str]]:
    """Return the studies and ids of the trials whose neighbours are asked for."""
    if beginning is None:
        best = spread_over_ranks(results, 1, [])
        return list(zip(best["study"].to_pylist(), best["trial_id"].to_pylist(), strict=True))
    ids = results.sql("SELECT study, trial_id FROM trials ORDER BY study").to_pylist()
    trial = matching_id(beginning, {row["trial_id"] for row in ids}, results.root)
    return [(row["study"], trial) for row in ids if row["trial_id"] == trial]


def _with_neighbours(
    results: Results, study: str, trial: str, fields: list[str], metrics: list[str]
) -> list[dict[str, Any]]:
    """Return the rows of a trial and of its neighbours, by field, then by value."""
    different = " + ".join(f'(trials."{name}" IS DISTINCT FROM own."{name}")::INTEGER' for name in fields)
    query = f"""
        WITH own AS (SELECT * FROM trials WHERE study = $study AND trial_id = $trial)
        SELECT trials.* FROM trials, own WHERE trials.study = own.study
            AND ({different} = 1 OR trials.trial_id = own.trial_id)"""
    columns = list(dict.fromkeys(["study", "trial_id", "status", *fields, *metrics]))
    found = results.sql(f"SELECT {listed(columns)} FROM ({query})", {"study": study, "trial": trial}).to_pylist()
    own = next(row for row in found if row["trial_id"] == trial)
    for row in found:
        varied = next((name for name in fields if row is not own and row[name] != own[name]), None)
        row["varied"] = varied
        if varied is not None:
            row |= {"own_value": as_text(own[varied]), "value": as_text(row[varied])}

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        value = row[row["varied"]]
        return fields.index(row["varied"]), value is None, value, row["trial_id"]

    return [own, *sorted((row for row in found if row is not own), key=place)]


NEIGHBOURS = NamedQuery(neighbours, NeighboursParameters, _COLUMNS, MAX_TRIALS)

"""The epochs that views draw: rows of a metric with the settings of their trials, and which epochs of very many."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow.compute as pc

from kd_sweep.tables.queries.setting_columns import listed
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import EPOCHS


class EpochRows(NamedTuple):
    """The part of a statement that reads epochs."""

    select: str
    """`SELECT study, trial_id, epoch, the columns, value FROM …`, without rows that have no value."""
    parameters: dict[str, Any]
    """What it refers to."""


def epoch_rows(results: Results, metric: str, columns: Sequence[str], *, with_ids: bool = False) -> EpochRows:
    """Return the rows of a metric.

    Args:
        results: whose epochs.
        metric: its column, as `value`.
        columns: of searched fields, from `epochs` where it has them, else from the rows of the trials.
        with_ids: with `trial_id` too. Reading it for millions of rows costs more than all else.
    """
    studies = results.studies()
    is_one = len(studies) == 1
    own = [name for name in columns if name in EPOCHS.names]
    joined = [name for name in columns if name not in own]
    # One study's name is not read from millions of rows.
    study, parameters = ("$study", {"study": studies[0]}) if is_one else ("epochs.study", {})
    names = [f"{study} AS study", *(f'epochs."{name}" AS "{name}"' for name in own), *(f'"{name}"' for name in joined)]
    names += ["epochs.trial_id AS trial_id"] if with_ids else []
    source = "epochs"
    if joined:
        key = "trial_id" if is_one else "study, trial_id"
        source += f" JOIN (SELECT {key}, {listed(joined)} FROM trials) AS t USING ({key})"
    select = f'SELECT {", ".join(names)}, epoch, epochs."{metric}" AS value FROM {source}'
    return EpochRows(f'{select} WHERE epochs."{metric}" IS NOT NULL', parameters)


def last_epoch(results: Results) -> int:
    """Return the newest epoch of all trials, 0 where there is none, without reading the epochs."""
    newest = pc.max(results.table("trials")["last_epoch"]).as_py()
    return newest or 0


def epoch_step(last: int, most: int) -> int:
    """Return every how many epochs one is taken, so that of ``last`` at most ``most`` are, with the first and last."""
    return 1 if last <= most else math.ceil(last / max(most - 2, 1))


def taken_sql(step: int, last: int | str) -> str:
    """Return the condition that an epoch is taken; ``last`` is the last one, or the column that holds it."""
    return "true" if step == 1 else f"(epoch % {step} = 0 OR epoch IN (1, {last}))"


def thinned(step: int) -> list[str]:
    """Return the remark that not every epoch is in the answer, if that is so."""
    return [] if step == 1 else [f"Of the epochs the first, the last, and one in {step}: all would be too many."]

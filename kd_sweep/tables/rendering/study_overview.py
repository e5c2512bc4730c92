"""The overview of studies: their progress in 80 columns."""

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

_OF_SEEDS = re.compile(r"(\d+) seeds? of at most (\d+)")
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def overview(rows: Sequence[Mapping[str, Any]], now: datetime.datetime | None = None) -> pa.Table:
    """Return one row per study: name, state, trials done of all, epochs, best objective, time left, last change.

    Args:
        rows: as `Results.status` returns them.
        now: the time from which the last change is counted; this moment when None.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    columns: dict[str, list[Any]] = {
        "study": [row["study"] for row in rows],
        "status": [row["status"] for row in rows],
        "trials": [_trials(row) for row in rows],
        "epochs": [row["num_epochs"] for row in rows],
        "best": [row["best_objective"] for row in rows],
        "left": [None if row["remaining_s"] is None else span(row["remaining_s"]) for row in rows],
        "changed": [_ago(row["updated_at"], now) for row in rows],
    }
    if any(row.get("seeds_judged") for row in rows):
        columns["seeds"] = [_seeds(row.get("seeds_judged")) for row in rows]
    if any(row["num_failed"] for row in rows):
        columns["failed"] = [row["num_failed"] for row in rows]
    if any(row["tags"] for row in rows):
        columns["tags"] = [", ".join(row["tags"]) for row in rows]
    return pa.table(columns)


def span(seconds: float) -> str:
    """Return a time in its largest unit: `2 h`, `35 s`."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    return f"{seconds / size:.0f} {unit}"


def remaining_s(trials: Sequence[Mapping[str, Any]], num_planned: int | None) -> float | None:
    """Return the seconds that a running study will take at the pace of its finished trials; None without such a pace.

    Args:
        trials: rows with `status`, `train_s`, `num_epochs`, `last_epoch`.
        num_planned: how many trials the study asks for.
    """
    spent = [row["train_s"] for row in trials if row["status"] == "completed" and row["train_s"]]
    running = [row for row in trials if row["status"] == "running"]
    if not spent or not running or num_planned is None:
        return None
    waiting = max(num_planned - len(trials), 0)
    rest = waiting + sum(1 - (row["last_epoch"] or 0) / row["num_epochs"] for row in running if row["num_epochs"])
    return float(sum(spent) / len(spent) * rest / len(running))


def _trials(row: Mapping[str, Any]) -> str:
    done = row["num_completed"] + row["num_stopped"]
    return f"{done}/{row['num_trials'] if row['num_planned'] is None else row['num_planned']}"


def _seeds(judged: str | None) -> str | None:
    """Return `4/12` of `4 seeds of at most 12; undecided: …`."""
    numbers = _OF_SEEDS.match(judged or "")
    return numbers and f"{numbers[1]}/{numbers[2]}"


def _ago(moment: datetime.datetime | None, now: datetime.datetime) -> str | None:
    return None if moment is None else f"{span(max((now - moment).total_seconds(), 0.0))} ago"

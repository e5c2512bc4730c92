"""Finished trials as rows of MLflow's tables: a run each, with parameters, tags, metrics by epoch."""

import hashlib
import itertools
import json
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kd_sweep.export.export_paths import Mark
from kd_sweep.export.finished_study import Curves, FinishedTrial

VERSION_TAG = "kd_sweep.version"
"""Of a run: which state of the trial it holds. A trial that was run again has another one."""
_STATUSES = {"completed": "FINISHED", "stopped": "FINISHED", "failed": "FAILED"}
_MOST_CHARACTERS = 5_000
"""Of the value of a parameter or tag: MLflow has room for 6,000."""
_RUN = {
    "source_type": "LOCAL",
    "source_name": "kd-sweep",
    "entry_point_name": "",
    "user_id": "",
    "source_version": "",
    "lifecycle_stage": "active",
}
"""What is the same in every run."""
_TEXT = ("key", "value", "run_uuid")
_METRIC = ("key", "value", "timestamp", "run_uuid", "step", "is_nan")
COLUMNS = {
    "runs": ("run_uuid", "name", "status", "start_time", "end_time", *_RUN, "artifact_uri", "experiment_id"),
    "params": _TEXT,
    "tags": _TEXT,
    "latest_metrics": _METRIC,
    "metrics": _METRIC,
}
"""Those that are written, by table of MLflow's."""


@dataclass(frozen=True)
class Rows:
    """Rows for one of MLflow's tables."""

    table: str
    values: list[tuple[Any, ...]]
    """In the order of `COLUMNS`."""


@dataclass(frozen=True)
class Run:
    """A trial, and the run that it becomes."""

    run_uuid: str
    trial: FinishedTrial
    curves: Curves


def run_id(mark: Mark, trial: FinishedTrial) -> str:
    """Return the id of a trial's run, 32 hexadecimal digits: the same whenever and wherever it is exported."""
    told = json.dumps([mark["study"], mark["created_at"], trial.trial_id])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def rows_of(runs: Sequence[Run], experiment_id: int, artifact_location: str) -> Iterator[Rows]:
    """Yield the rows of runs, those of a metric together and by time: SQLite's index of them grows at its end then.

    Args:
        runs: any number; what they take in memory is theirs and the rows of one metric.
        experiment_id: of their experiment.
        artifact_location: of their experiment.
    """
    yield Rows("runs", [(*_run(run), f"{artifact_location}/{run.run_uuid}/artifacts", experiment_id) for run in runs])
    yield Rows("params", [row for run in runs for row in _texts(run, run.trial.settings)])
    yield Rows("tags", [row for run in runs for row in _texts(run, _tags(run.trial))])
    steps = [_steps(run.curves) for run in runs]
    for name in sorted({name for run in runs for name in run.curves.values}):
        of_runs = zip(runs, steps, strict=True)
        values = [_metric(run, name, at) for run, at in of_runs if name in run.curves.values]
        yield Rows("latest_metrics", [of_run[-1] for of_run in values])
        yield Rows("metrics", sorted(itertools.chain.from_iterable(values), key=operator.itemgetter(2)))


def _run(run: Run) -> tuple[Any, ...]:
    trial = run.trial
    times = _milliseconds(trial.started_at.timestamp()), _milliseconds(trial.finished_at.timestamp())
    return (run.run_uuid, trial.trial_id, _STATUSES[trial.status], *times, *_RUN.values())


def _tags(trial: FinishedTrial) -> dict[str, Any]:
    of_mlflow = {"mlflow.runName": trial.trial_id, "mlflow.source.name": "kd-sweep", "mlflow.source.type": "LOCAL"}
    facts = {f"kd_sweep.{name}": value for name, value in trial.facts.items()}
    return of_mlflow | facts | {VERSION_TAG: trial.version}


def _texts(run: Run, values: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, value in values.items():
        yield name, str(value)[:_MOST_CHARACTERS], run.run_uuid


def _steps(curves: Curves) -> tuple[list[int], list[int]]:
    """Return the time of each epoch, in milliseconds, and its number."""
    return [_milliseconds(time_s) for time_s in curves.finished_at_s.tolist()], curves.epochs.tolist()


def _metric(run: Run, name: str, steps: tuple[list[int], list[int]]) -> list[tuple[Any, ...]]:
    """Return what a run reported of a metric, epoch by epoch, without the epochs that have no value."""
    times, epochs = steps
    name_of_all, id_of_all, is_nan = itertools.repeat(name), itertools.repeat(run.run_uuid), itertools.repeat(False)
    rows = zip(name_of_all, run.curves.values[name].tolist(), times, id_of_all, epochs, is_nan, strict=False)
    return [row for row in rows if row[1] == row[1]]  # not NaN


def _milliseconds(time_s: float) -> int:
    return round(time_s * 1000)

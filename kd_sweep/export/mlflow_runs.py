"""Finished trials as rows of MLflow's tables: a run each, with parameters, tags, metrics by epoch."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kd_sweep.export.export_paths import Mark
from kd_sweep.export.finished_study import Curves, FinishedTrial, Floats, Ints

Texts = npt.NDArray[np.object_]

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
    values: Iterable[tuple[Any, ...]]
    """In the order of `COLUMNS`."""


@dataclass(frozen=True)
class Run:
    """A trial, and the run that it becomes."""

    run_uuid: str
    trial: FinishedTrial
    curves: Curves
    version: str
    """Which state of the trial it holds."""


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
    yield Rows("tags", [row for run in runs for row in _texts(run, _tags(run))])
    epochs = _Epochs.of(runs)
    for name in sorted({name for run in runs for name in run.curves.values}):
        values_E = epochs.values_of(name, runs)
        yield Rows("metrics", epochs.rows(name, values_E, epochs.by_time))
        yield Rows("latest_metrics", epochs.rows(name, values_E, epochs.last_of_runs(values_E)))


def _run(run: Run) -> tuple[Any, ...]:
    trial = run.trial
    times = _milliseconds(trial.started_at.timestamp()), _milliseconds(trial.finished_at.timestamp())
    return (run.run_uuid, trial.trial_id, _STATUSES[trial.status], *times, *_RUN.values())


def _tags(run: Run) -> dict[str, Any]:
    trial = run.trial
    of_mlflow = {"mlflow.runName": trial.trial_id, "mlflow.source.name": "kd-sweep", "mlflow.source.type": "LOCAL"}
    facts = {f"kd_sweep.{name}": value for name, value in trial.facts.items()}
    return of_mlflow | facts | {VERSION_TAG: run.version}


def _texts(run: Run, values: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, value in values.items():
        yield name, str(value)[:_MOST_CHARACTERS], run.run_uuid


@dataclass(frozen=True)
class _Epochs:
    """The epochs of some runs, those of one run after those of another."""

    run_ids: Texts
    times: Ints
    """In milliseconds."""
    numbers: Ints
    """In their run."""
    by_time: Ints
    """Their indexes."""
    ends: Ints
    """Of each run, the index behind its last."""

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "_Epochs":
        lengths = np.array([len(run.curves.epochs) for run in runs], np.int64)
        ids = np.repeat(np.array([run.run_uuid for run in runs], object), lengths)
        times = np.rint(np.concatenate([run.curves.finished_at_s for run in runs]) * 1000).astype(np.int64)
        numbers = np.concatenate([run.curves.epochs for run in runs])
        return cls(ids, times, numbers, np.argsort(times, kind="stable"), np.cumsum(lengths))

    def values_of(self, name: str, runs: Sequence[Run]) -> Floats:
        """Return a metric of every epoch, NaN where there is none."""
        parts = [run.curves.values.get(name, np.full(len(run.curves.epochs), np.nan)) for run in runs]
        return np.concatenate(parts)

    def last_of_runs(self, values: Floats) -> Ints:
        """Return the index of the last value of each run that has one."""
        (known,) = np.nonzero(~np.isnan(values))
        runs = np.searchsorted(self.ends, known, "right")
        last: Ints = known[np.append(runs[1:] != runs[:-1], [True] * bool(len(runs)))]
        return last

    def rows(self, name: str, values: Floats, indexes: Ints) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a metric at these epochs, without those that have no value."""
        at = indexes[~np.isnan(values[indexes])]
        columns = [column[at].tolist() for column in (values, self.times, self.run_ids, self.numbers)]
        return zip(itertools.repeat(name), *columns, itertools.repeat(False), strict=False)


def _milliseconds(time_s: float) -> int:
    return round(time_s * 1000)

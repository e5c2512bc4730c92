"""The finished trials of a study as other tools are given them: settings, last metrics, curves, times."""

import datetime
import math
from collections.abc import Collection, Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.errors import QueryError, StorageError
from kd_sweep.storage.root import Root
from kd_sweep.study.file.frozen import FrozenStudy
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.study.spec import StudySpec
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import FINISHED, extra_metric_columns, metric_columns, searched_columns

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FAILED = "failed"
EXPORTED = (*FINISHED, FAILED)
"""Statuses of trials that do not change any more, unless the study is launched again."""
POINT = ("augmentation_strength", "ensemble_size", "seed")
RAN = ("learning_rate", "epoch_s", "train_images_per_s")
"""Columns of epochs that are numbers and no metrics."""
_EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)


@dataclass(frozen=True)
class FinishedTrial:
    """A trial that is completed, stopped or failed."""

    row: dict[str, Any]
    """Of the `trials` table."""
    settings: dict[str, Any]
    """Strength, size, seed and the other searched fields, by column; without those that it has not."""
    metrics: dict[str, float]
    """Of its last epoch, by column; without those that it has not."""

    @property
    def trial_id(self) -> str:
        """16 hexadecimal digits."""
        return str(self.row["trial_id"])

    @property
    def status(self) -> str:
        """`completed`, `stopped` or `failed`."""
        return str(self.row["status"])

    @property
    def started_at(self) -> datetime.datetime:
        """In UTC; where the table has no time, that of its end."""
        return self.row["started_at"] or self.row["finished_at"] or _EPOCH

    @property
    def finished_at(self) -> datetime.datetime:
        """In UTC; where the table has no time, that of its start."""
        return self.row["finished_at"] or self.started_at

    @property
    def version(self) -> str:
        """What differs when it was run again."""
        told = f"attempt {self.row.get('attempts')}, epoch {self.row.get('last_epoch')}, {self.row.get('finished_at')}"
        return f"{self.status}, {told}"

    @property
    def facts(self) -> dict[str, Any]:
        """What else the row says of it in a word: student, teacher, epochs, attempts, the error."""
        names = ("trial_id", "status", "student", "teacher", "last_epoch", "num_epochs", "best_epoch", "error", "host")
        return {name: self.row[name] for name in names if self.row.get(name) is not None}


@dataclass(frozen=True)
class Curves:
    """What a trial reported, epoch by epoch."""

    epochs: Ints
    finished_at_s: Floats
    """Unix time of each epoch's end."""
    values: dict[str, Floats]
    """By column; NaN where an epoch has no value, and in all but the last that has one where no history is asked for.
    Columns without any value are left out."""


class FinishedStudy:
    """Reads a study once; what finishes later is not in it.

    Args:
        results: a root, or the study alone.
        name: of the study.

    Raises:
        QueryError: there is no such study, or none of its trials is finished. One line.
        CorruptFileError: a table is damaged.
    """

    def __init__(self, results: Results, name: str) -> None:
        self.name = name
        self.root: Root = results.select(name)[name]
        """The study's folder."""
        self.results = Results(self.root)
        """The study alone."""
        self.objectives = self.results.objectives()[name]
        table = self.results.table("trials")
        rows = table.to_pylist()
        self.metric_names = metric_columns(table.schema)
        self.setting_names = (*POINT, *searched_columns(table.schema))
        finished = [row for row in rows if row["status"] in EXPORTED]
        self.trials = sorted((self._trial(row) for row in finished), key=lambda one: (one.started_at, one.trial_id))
        self.num_unfinished = len(rows) - len(finished)
        if not finished:
            raise QueryError(f"study: no trial of {name} is finished yet; see kd-sweep status {results.root}")

    @cached_property
    def row(self) -> dict[str, Any]:
        """Of the `studies` table; empty where it has none."""
        rows = self.results.table("studies").to_pylist()
        return rows[0] if rows else {}

    @cached_property
    def frozen(self) -> FrozenStudy | None:
        """The study as it was launched, with the versions that ran it; None where it cannot be read."""
        try:
            return StudyFolder.at(self.root).frozen_study()
        except StorageError:
            return None

    @property
    def own_metrics(self) -> list[str]:
        """The metrics that the study names itself: its objectives, and those that it added."""
        added = [name for name in self.metric_names if name not in REPORTED_METRICS]
        return [*(objective["metric"] for objective in self.objectives), *added]

    @cached_property
    def reported_metrics(self) -> list[str]:
        """The metrics that some trial has a last value of, in the order of the columns."""
        known = {name for trial in self.trials for name in trial.metrics}
        return [name for name in self.metric_names if name in known]

    @property
    def spec(self) -> StudySpec | None:
        """The study as it was launched; None where it cannot be read."""
        return self.frozen.spec if self.frozen else None

    def curves(
        self, of: Collection[str] | None = None, histories: Container[str] | None = None
    ) -> Iterator[tuple[FinishedTrial, Curves]]:
        """Yield each trial with what it reported.

        Args:
            of: the ids of those that are wanted; all when None.
            histories: the metrics of which every epoch is wanted, of others the last value; all when None.
        """
        table = self.results.table("epochs")
        names = [*self.metric_names, *RAN]
        names += [name for name in extra_metric_columns(table.schema) if name not in names]
        order = pc.sort_indices(table, [("trial_id", "ascending"), ("epoch", "ascending")])
        table = table.select(["trial_id", "epoch", "finished_at", *filter(table.column_names.__contains__, names)])
        table = table.take(order).combine_chunks()
        ids = table["trial_id"].to_numpy(zero_copy_only=False)
        columns = {name: _floats(table[name]) for name in table.column_names[3:]}
        whole = {name for name in columns if histories is None or name in RAN or name in histories}
        epochs = table["epoch"].to_numpy(zero_copy_only=False).astype(np.int64)
        times = _floats(pc.cast(table["finished_at"], pa.int64())) / 1e6
        for trial in self.trials if of is None else (one for one in self.trials if one.trial_id in of):
            first, last = np.searchsorted(ids, trial.trial_id, "left"), np.searchsorted(ids, trial.trial_id, "right")
            part = slice(int(first), int(last))
            kept = {name: _kept(column[part], name in whole) for name, column in columns.items()}
            values = {name: values for name, values in kept.items() if values is not None}
            times_s = np.nan_to_num(times[part], nan=trial.finished_at.timestamp())
            yield trial, Curves(epochs[part], times_s, values)

    def _trial(self, row: dict[str, Any]) -> FinishedTrial:
        settings = {name: row[name] for name in self.setting_names if row[name] is not None}
        metrics = {name: row[name] for name in self.metric_names if _is_number(row.get(name))}
        return FinishedTrial(row, settings, metrics)


def _floats(column: pa.ChunkedArray) -> Floats:
    values: Floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values


def _kept(values: Floats, is_whole: bool) -> Floats | None:
    """Return the values of a trial, or NaN but for the last that there is; None where there is none."""
    (known,) = np.nonzero(~np.isnan(values))
    if not len(known):
        return None
    if is_whole:
        return values
    last = np.full_like(values, np.nan)
    last[known[-1]] = values[known[-1]]
    return last


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)

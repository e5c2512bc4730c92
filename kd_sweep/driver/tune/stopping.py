"""Ray Tune's schedulers, with a memory: what earlier runs of a study reported goes back into them.

Tune forgets rungs and running means when its process ends. Here they are filled from the study's `epochs` table,
under the study's own trial ids; when Tune starts one of these trials again, under an id that Tune draws, its
entries move to that id, so that no trial counts twice.
"""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import pyarrow as pa
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule, TrialScheduler

from kd_sweep.study.space.dimensions import extremes
from kd_sweep.study.spec import AshaScheduler, MedianScheduler, StudySpec, metric_of

EpochsTable = Callable[[Sequence[str]], pa.Table]


def build_scheduler(spec: StudySpec, epochs_table: EpochsTable) -> Any:
    """Return Tune's scheduler for the study, knowing every epoch that the tables hold.

    Args:
        spec: the study.
        epochs_table: returns these columns of every epoch that the tables hold, sorted by trial and epoch.
    """
    judged = metric_of(spec)
    if judged is None:
        return FIFOScheduler()
    scheduler: RememberingAsha | RememberingMedian
    if isinstance(spec.scheduler, AshaScheduler):
        scheduler = RememberingAsha(
            time_attr="epoch",
            metric=judged.metric,
            mode=judged.mode,
            max_t=int(extremes(spec, "student.epochs")[1]),
            grace_period=spec.scheduler.grace_period,
            reduction_factor=spec.scheduler.reduction_factor,
        )
    else:
        assert isinstance(spec.scheduler, MedianScheduler)
        scheduler = RememberingMedian(
            time_attr="epoch",
            metric=judged.metric,
            mode=judged.mode,
            grace_period=spec.scheduler.grace_period,
            min_samples_required=spec.scheduler.min_trials,
        )
    rows = epochs_table(["trial_id", "epoch", judged.metric]).to_pylist()
    for trial_id, epochs in groupby(rows, key=lambda row: str(row["trial_id"])):
        scheduler.remember(trial_id, [row for row in epochs if row[judged.metric] is not None])
    return scheduler


class RememberingAsha(ASHAScheduler):
    """Asynchronous successive halving whose rungs survive the process."""

    def remember(self, trial_id: str, epochs: list[dict[str, Any]]) -> None:
        """Put the trial's value at each milestone that it reached into that milestone's rung."""
        metric = str(self._metric)
        values = {row["epoch"]: row[metric] for row in epochs}
        for milestone, recorded in self._brackets[0]._rungs:
            reached = [epoch for epoch in values if epoch >= milestone]
            if reached:
                recorded[trial_id] = self._metric_op * values[min(reached)]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Hand a remembered trial's entries to the id that Tune gave it."""
        super().on_trial_add(tune_controller, trial)
        for _, recorded in self._brackets[0]._rungs:
            if trial.config["trial_id"] in recorded:
                recorded[trial.trial_id] = recorded.pop(trial.config["trial_id"])


class RememberingMedian(MedianStoppingRule):
    """Median stopping that compares with the trials of earlier runs too."""

    def remember(self, trial_id: str, epochs: list[dict[str, Any]]) -> None:
        """Count the trial's epochs among the results."""
        metric = str(self._metric)
        rows = [{"epoch": row["epoch"], metric: row[metric]} for row in epochs]
        if rows:
            self._results[trial_id] = rows

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Hand a remembered trial's results to Tune's trial object."""
        super().on_trial_add(tune_controller, trial)
        if trial.config["trial_id"] in self._results:
            self._results[trial] = self._results.pop(trial.config["trial_id"])

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Count the last epoch, unless the result carries none."""
        if self._time_attr in result and self._metric in result:
            super().on_trial_complete(tune_controller, trial, result)

    def _on_insufficient_samples(self, tune_controller: Any, trial: Any, time: float) -> str:
        # Tune would pause the trial to give others its slot; our trials keep their process until they end.
        return str(TrialScheduler.CONTINUE)

"""The way of Tune's events to the study's tables and to whoever follows the run. Every hook runs in the driver."""

from collections.abc import Callable, Sequence
from typing import Any, assert_never

from ray import tune

from kd_sweep.distill.teacher_records import TeacherRecord
from kd_sweep.driver.budgets.cache_budget import CacheBudget
from kd_sweep.driver.budgets.checkpoint_budget import CheckpointBudget
from kd_sweep.driver.events import Progress, Tick, Told, TrialBegan, TrialEnded, TrialEpoch
from kd_sweep.driver.interrupts import Interrupt
from kd_sweep.driver.recorder import Recorder
from kd_sweep.driver.tune.failures import Failure, Retries
from kd_sweep.driver.tune.teachers_first import TeacherEvents
from kd_sweep.driver.tune.tune_trial import (
    TuneTrial,
    assignment_in,
    forget_results,
    message_in,
    study_trial_id,
    teacher_in,
)
from kd_sweep.driver.worker_messages import (
    EpochDone,
    EpochReport,
    EpochsInCheckpoint,
    ProcessWanted,
    TeacherEpochDone,
    TeacherStarted,
    TrialFailed,
)
from kd_sweep.errors import StorageError
from kd_sweep.study.trial import TrialConfig


class SweepCallback(tune.Callback):
    """Records every epoch and every end of a trial, shows progress, and ends the sweep when a signal has come.

    Args:
        recorder: where rows go.
        progress: is told of every event.
        interrupt: set by a signal.
        retries: how often a trial that raised is tried again.
        checkpoints: the limit of what they take.
        caches: the limit of what teachers' answers take.
        on_first_epoch: called with the configuration of a trial that had to train teachers itself, once they are there.
        on_process_wanted: called when a trial has no process that it shares with others.
    """

    def __init__(
        self,
        recorder: Recorder,
        progress: Progress,
        interrupt: Interrupt,
        retries: int,
        checkpoints: CheckpointBudget,
        caches: CacheBudget,
        on_first_epoch: Callable[[TrialConfig], None],
        on_process_wanted: Callable[[ProcessWanted], None] = lambda _: None,
    ) -> None:
        self._recorder = recorder
        self._progress = progress
        self._interrupt = interrupt
        self._retries = Retries(retries)
        self._teachers = TeacherEvents(recorder, progress)
        self._checkpoints = checkpoints
        self._caches = caches
        self._noted_shortage = False
        self._ended_in_step: list[str] = []
        self._over_in_step: list[TuneTrial] = []
        self._on_first_epoch = on_first_epoch
        self._on_process_wanted = on_process_wanted
        self._configs: dict[str, TrialConfig] = {}
        self._without_teachers: set[str] = set()
        self._under_way: set[str] = set()
        self._ended: set[str] = set()
        self._storage_failure: str | None = None

    def on_trial_start(self, iteration: int, trials: Sequence[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Note that the trial runs; it may be a later attempt."""
        if teacher_in(trial.config) is not None:
            self._teachers.started(trial)
            return
        self._retries.started(trial)
        self._attempt(trial)

    def on_trial_result(
        self, iteration: int, trials: Sequence[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        """Record an epoch, or note that the trial has raised."""
        message = message_in(result)
        if isinstance(message, TrialFailed) and message.kind == StorageError.__name__:
            self._storage_failure = message.message  # what one trial or teacher cannot write, none can
        if (teacher := teacher_in(trial.config)) is not None:
            self._teachers.reported(trial, teacher, message, result["node_ip"])
            return
        match message:
            case TrialFailed():
                self._retries.announced(trial)
            case EpochsInCheckpoint(reports):  # which is no progress of this attempt
                for report in reports:
                    if report.epoch > self._recorder.last_epoch(study_trial_id(trial)):
                        self._epoch(study_trial_id(trial), report)
            case EpochDone(report):
                self._retries.progressed(trial, result["node_ip"])
                self._epoch(study_trial_id(trial), report)
            case ProcessWanted():
                self._on_process_wanted(message)
            case TeacherStarted() | TeacherEpochDone() | TeacherRecord() | None:
                pass
            case _:
                assert_never(message)

    def _epoch(self, trial_id: str, report: EpochReport) -> None:
        if trial_id in self._without_teachers:
            self._on_first_epoch(self._configs[trial_id])
            if self._knows_teachers(self._configs[trial_id]):
                self._without_teachers.remove(trial_id)
        self._recorder.epoch(trial_id, report)
        self._progress(TrialEpoch(trial_id, report.epoch, report.metrics))

    def on_trial_complete(self, iteration: int, trials: Sequence[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Record whether the trial ran all its epochs or the scheduler stopped it. Tune may say it twice."""
        self._over_in_step.append(trial)
        trial_id = study_trial_id(trial)
        config = self._configs.get(trial_id)
        if config is None or self._has_ended(trial):
            return
        complete = self._recorder.last_epoch(trial_id) >= config.student.epochs
        self._end(trial_id, "completed" if complete else "stopped")

    def on_trial_recover(self, iteration: int, trials: Sequence[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Record why a trial waits for another attempt. What it raised itself is recorded once its retries are used."""
        if (teacher := teacher_in(trial.config)) is not None:
            self._teachers.recovers(trial, teacher)
            return
        failure = self._retries.failure(trial)
        self._attempt(trial)
        trial_id = study_trial_id(trial)
        self._under_way.discard(trial_id)
        if failure.status != "failed":
            self._recorder.ended(trial_id, failure.status, failure.error, failure.traceback)
            self._progress(Told(f"trial {trial_id} {failure.status}, goes on from its checkpoint: {failure.error}"))

    def on_trial_error(self, iteration: int, trials: Sequence[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Record the error of a trial that is not tried again."""
        self._over_in_step.append(trial)
        if self._has_ended(trial):
            return
        if (teacher := teacher_in(trial.config)) is not None:
            self._teachers.failed(trial, teacher)
            return
        failure = self._retries.failure(trial)
        self._attempt(trial)
        self._end(study_trial_id(trial), failure.status, failure)

    def on_step_end(self, iteration: int, trials: Sequence[TuneTrial], **info: Any) -> None:
        """Write what is due, redraw, and stop if a signal has come or the storage has failed."""
        for trial in self._over_in_step:  # of which nobody asks Tune any more
            forget_results(trial)
        self._over_in_step.clear()
        self._limit_checkpoints()
        self._caches.enforce_due()
        self._recorder.write_due()
        self._progress(Tick())
        self._interrupt.check()
        if self._storage_failure is not None:
            raise StorageError(self._storage_failure)

    def _limit_checkpoints(self) -> None:
        # Not where a trial ends: there Tune would take a disk that fails for a failure of the trial.
        for trial_id in self._ended_in_step:
            self._checkpoints.trial_ended(trial_id)
        if self._ended_in_step and not self._noted_shortage and (shortage := self._checkpoints.shortage()):
            self._noted_shortage = True
            self._progress(Told(shortage))
        self._ended_in_step.clear()

    def _attempt(self, trial: TuneTrial) -> None:
        """Record that an attempt has begun; Tune does not report one whose process died before it was ready."""
        trial_id = study_trial_id(trial)
        if trial_id in self._under_way:
            return
        self._under_way.add(trial_id)
        assignment = assignment_in(trial.config)
        config = self._configs[trial_id] = assignment.trial
        self._recorder.started(config, assignment.suggestion, assignment.generation)
        needs = not self._knows_teachers(config)
        if needs:
            self._without_teachers.add(trial_id)
        self._progress(TrialBegan(trial_id, config, self._recorder.last_epoch(trial_id), needs))

    def _knows_teachers(self, config: TrialConfig) -> bool:
        return all(self._recorder.knows_teacher(teacher.teacher_id) for teacher in config.needed_teachers)

    def _has_ended(self, trial: TuneTrial) -> bool:
        """Whether this end of Tune's trial was recorded before; from now on it was."""
        known = trial.trial_id in self._ended
        self._ended.add(trial.trial_id)
        return known

    def _end(self, trial_id: str, status: str, failure: Failure | None = None) -> None:
        self._under_way.discard(trial_id)
        self._configs.pop(trial_id, None)
        self._without_teachers.discard(trial_id)
        error = failure.error if failure else None
        self._recorder.ended(trial_id, status, error, failure.traceback if failure else None)
        self._progress(TrialEnded(trial_id, status, error))
        self._ended_in_step.append(trial_id)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks; nothing ever reads that copy

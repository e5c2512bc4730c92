"""The teachers that a sweep trains before the trials that need them, in the same processes."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import assert_never

from kd_sweep.distill.teacher_records import TeacherRecord, teacher_record
from kd_sweep.driver.events import Progress, TeacherBegan, TeacherEpoch, TeacherLost, TeacherTrained, Told
from kd_sweep.driver.pace import describe_teacher
from kd_sweep.driver.ray.lost_processes import MAX_LOSSES
from kd_sweep.driver.recorder import Recorder
from kd_sweep.driver.tune.failures import Retries
from kd_sweep.driver.tune.tune_trial import TuneTrial
from kd_sweep.driver.worker_messages import (
    EpochDone,
    EpochsInCheckpoint,
    Message,
    ProcessWanted,
    TeacherEpochDone,
    TeacherStarted,
    TrialFailed,
)
from kd_sweep.storage.root import Location
from kd_sweep.study.trial import TeacherConfig, TrialConfig


class TeacherQueue:
    """The teachers that are not there yet, and which trials have to wait for them.

    Args:
        on_trials: called once, when all teachers so far have been handed out and the first trial is asked for.
    """

    def __init__(self, on_trials: Callable[[], None] = lambda: None) -> None:
        self._waiting: deque[TeacherConfig] = deque()
        self._unsettled: set[str] = set()
        self._on_trials: Callable[[], None] | None = on_trials

    def next(self) -> TeacherConfig | None:
        """Take the next teacher to train; None from when there is none left."""
        if self._waiting:
            return self._waiting.popleft()
        if self._on_trials is not None:
            self._on_trials()
            self._on_trials = None
        return None

    def add(self, missing: Iterable[TeacherConfig]) -> None:
        """Have these trained, after those that wait already, in the order of need."""
        for teacher in missing:
            self._waiting.append(teacher)
            self._unsettled.add(teacher.teacher_id)

    def settle(self, teacher: TeacherConfig) -> None:
        """Let the trials of a teacher run: it is trained, or has been given up, and they try it themselves."""
        self._unsettled.discard(teacher.teacher_id)

    def holds_up(self, trial: TrialConfig) -> bool:
        """Whether the trial has to wait for a teacher in training."""
        return bool(self._unsettled) and any(one.teacher_id in self._unsettled for one in trial.needed_teachers)


class TeacherEvents:
    """The way of Tune's events about teachers to the tables and to whoever follows the run.

    Like a trial, a teacher that loses its process goes on from its checkpoint, and is given up when that happens again
    and again without an epoch in between. One that raises is left to its trials, whose rows then say why.

    Args:
        recorder: where the rows go.
        progress: is told of every event.
    """

    def __init__(self, recorder: Recorder, progress: Progress) -> None:
        self._recorder, self._progress = recorder, progress
        self._retries = Retries(retries=0, process="its process")
        self._losses: dict[str, int] = {}

    def started(self, trial: TuneTrial) -> None:
        """Note that an attempt begins."""
        self._retries.started(trial)

    def reported(self, trial: TuneTrial, teacher: TeacherConfig, message: Message | None, address: str) -> None:
        """Tell of what the teacher's process reports; ``address`` is that of its node."""
        match message:
            case TeacherStarted():
                self._progress(TeacherBegan(teacher.teacher_id, describe_teacher(teacher), teacher.epochs))
            case TeacherEpochDone(epoch):
                self._losses.pop(teacher.teacher_id, None)
                self._retries.progressed(trial, address)
                self._progress(TeacherEpoch(teacher.teacher_id, epoch))
            case TeacherRecord() as record:
                self._recorder.teacher(record)
                self._progress(TeacherTrained(teacher.teacher_id, describe_teacher(teacher), record.val_accuracy))
            case TrialFailed():
                if not message.is_of_the_system:
                    self._retries.announced(trial)
            case EpochDone() | EpochsInCheckpoint() | ProcessWanted() | None:
                pass
            case _:
                assert_never(message)

    def recovers(self, trial: TuneTrial, teacher: TeacherConfig) -> None:
        """Tell that the teacher waits for another attempt, and why."""
        losses = self._losses[teacher.teacher_id] = self._losses.get(teacher.teacher_id, 0) + 1
        why = self._retries.failure(trial).error
        self._lost(teacher, f"{why}, trying again ({losses + 1} of {MAX_LOSSES + 1})")

    def failed(self, trial: TuneTrial, teacher: TeacherConfig) -> None:
        """Tell that the teacher is not tried again, and why."""
        failure = self._retries.failure(trial)
        attempts = "" if failure.status == "failed" else f", given up after {MAX_LOSSES + 1} attempts"
        self._lost(teacher, f"{failure.error}{attempts}; its trials try it too")

    def _lost(self, teacher: TeacherConfig, why: str) -> None:
        self._progress(TeacherLost(teacher.teacher_id))
        self._progress(Told(f"teacher {describe_teacher(teacher)}: {why}"))


def missing_teachers(teachers: Iterable[TeacherConfig], root: Location, recorder: Recorder) -> list[TeacherConfig]:
    """Return the teachers that are not trained yet, and record those that are."""
    return [teacher for teacher in teachers if not _record_finished(teacher, root, recorder)]


def record_teachers(teachers: Iterable[TeacherConfig], root: Location, recorder: Recorder) -> None:
    """Record the teachers of a trial that has trained them by itself."""
    for teacher in teachers:
        if not recorder.knows_teacher(teacher.teacher_id):
            _record_finished(teacher, root, recorder)


def _record_finished(teacher: TeacherConfig, root: Location, recorder: Recorder) -> bool:
    record = teacher_record(root, teacher.teacher_id)
    if record is not None:
        recorder.teacher(record)
    return record is not None

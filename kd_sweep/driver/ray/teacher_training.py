"""The training of the teachers that a finite study needs: each once, as Ray tasks ahead of the trials."""

from dataclasses import dataclass
from typing import Any, assert_never

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayError, RayTaskError

from kd_sweep.distill.teacher_records import TeacherRecord, teacher_record
from kd_sweep.driver.events import (
    Progress,
    TeacherBegan,
    TeacherEpoch,
    TeacherLost,
    TeachersBegan,
    TeacherTrained,
    Tick,
    Told,
)
from kd_sweep.driver.interrupts import Interrupt
from kd_sweep.driver.pace import describe_teacher
from kd_sweep.driver.ray.connection import ray_options
from kd_sweep.driver.ray.crashes import how_crashed
from kd_sweep.driver.ray.lost_processes import MAX_LOSSES, why_lost
from kd_sweep.driver.ray.teacher_task import TeacherMessage, train_teacher
from kd_sweep.driver.recorder import Recorder
from kd_sweep.driver.worker_messages import TeacherEpochDone, TeacherStarted, WorkerSettings
from kd_sweep.errors import StorageError
from kd_sweep.storage.root import Location
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TeacherConfig
from kd_sweep.waiting import doing

POLL_S = 0.25


@dataclass
class _Training:
    """A teacher's current attempt."""

    teacher: TeacherConfig
    messages: Any
    """Ray's generator of what the worker yields."""
    losses: int = 0
    """Processes that it has lost since its last epoch."""
    pid: int | None = None


class _Teachers:
    """The teachers in training.

    Args:
        spec: the study.
        settings: for the workers.
        recorder: where the rows go.
        progress: is told of every event.
    """

    def __init__(self, spec: StudySpec, settings: WorkerSettings, recorder: Recorder, progress: Progress) -> None:
        self._settings, self._recorder, self._progress = settings, recorder, progress
        options = ray_options(spec.resources)
        self._task = ray.remote(train_teacher).options(**options, num_returns="streaming", max_retries=0)
        self._running: dict[Any, _Training] = {}

    def start(self, teacher: TeacherConfig, losses: int = 0) -> None:
        messages = self._task.remote(teacher, self._settings)
        self._running[messages] = _Training(teacher, messages, losses)

    def is_done(self) -> bool:
        return not self._running

    def poll(self) -> None:
        """Take the next message of each worker; wait a little where there is none."""
        waiting: list[Any] = list(self._running)
        ready: list[Any] = ray.wait(waiting, num_returns=len(waiting), timeout=0, fetch_local=False)[0]
        ready = ready or ray.wait(waiting, num_returns=1, timeout=POLL_S, fetch_local=False)[0]
        for messages in ready:
            training = self._running[messages]
            try:
                self._received(training, ray.get(next(messages)))
            except StopIteration:
                del self._running[messages]
            except RayError as error:
                del self._running[messages]
                self._failed(training, error)

    def _received(self, training: _Training, message: TeacherMessage) -> None:
        teacher = training.teacher
        match message:
            case TeacherStarted(pid):
                training.pid = pid
                self._progress(TeacherBegan(teacher.teacher_id, describe_teacher(teacher), teacher.learner.epochs))
            case TeacherEpochDone(epoch):
                training.losses = 0
                self._progress(TeacherEpoch(teacher.teacher_id, epoch))
            case TeacherRecord() as record:
                self._recorder.teacher(record)
                self._progress(TeacherTrained(teacher.teacher_id, describe_teacher(teacher), record.val_accuracy))
            case _:
                assert_never(message)

    def _failed(self, training: _Training, error: RayError) -> None:
        label, cause = describe_teacher(training.teacher), getattr(error, "cause", None)
        self._progress(TeacherLost(training.teacher.teacher_id))
        if isinstance(cause, StorageError):  # what one teacher cannot write, none can
            raise StorageError(str(cause)) from None
        if isinstance(error, RayTaskError) and not isinstance(cause, OSError):
            self._progress(Told(f"teacher {label} failed: {_first_line(error)}"))
            return
        what = _first_line(error) if cause is not None else f"lost its process ({_why_lost(error, training.pid)})"
        if training.losses >= MAX_LOSSES:
            given_up = f"given up after {MAX_LOSSES + 1} attempts; its trials try it too"
            self._progress(Told(f"teacher {label} {what}, {given_up}"))
            return
        attempt = training.losses + 2
        self._progress(Told(f"teacher {label} {what}, trying again ({attempt} of {MAX_LOSSES + 1})"))
        self.start(training.teacher, training.losses + 1)


def train_missing(
    teachers: list[TeacherConfig],
    spec: StudySpec,
    settings: WorkerSettings,
    recorder: Recorder,
    progress: Progress,
    interrupt: Interrupt,
) -> None:
    """Train the teachers that are not there yet. One that fails is left to its trials, whose rows then say why.

    Like a trial, a teacher that loses its process goes on from its checkpoint, and is given up when that happens again
    and again without an epoch in between.

    Args:
        teachers: every teacher that a trial still to run needs.
        spec: the study, whose `resources` hold for teachers too.
        settings: for the workers.
        recorder: where the rows go.
        progress: is told of every event.
        interrupt: set by a signal.

    Raises:
        StorageError: a worker could not write; the message has the path and the reason.
    """
    with doing("searching for trained teachers", plainly=True):
        missing = [teacher for teacher in teachers if not _record_finished(teacher, settings.root, recorder)]
    progress(TeachersBegan(len(teachers), tuple(teacher.learner.epochs for teacher in missing)))
    training = _Teachers(spec, settings, recorder, progress)
    for teacher in missing:
        training.start(teacher)
    while not training.is_done():
        interrupt.check()
        training.poll()
        recorder.write_due()
        progress(Tick())


def record_teachers(teachers: tuple[TeacherConfig, ...], root: Location, recorder: Recorder) -> None:
    """Record the teachers of a trial that has trained them by itself."""
    for teacher in teachers:
        if not recorder.knows_teacher(teacher.teacher_id):
            _record_finished(teacher, root, recorder)


def _record_finished(teacher: TeacherConfig, root: Location, recorder: Recorder) -> bool:
    record = teacher_record(root, teacher.teacher_id)
    if record is not None:
        recorder.teacher(record)
    return record is not None


def _why_lost(error: RayError, pid: int | None) -> str:
    """Return in a few words what happened to a worker: its signal, where that is known."""
    if isinstance(error, OutOfMemoryError | NodeDiedError):
        return why_lost(str(error))
    crash = how_crashed(pid) if pid is not None else None
    return crash or "killed or crashed; the kernel does that too when memory runs out"


def _first_line(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {(str(cause).strip() or 'no message').splitlines()[0]}"

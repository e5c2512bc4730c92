"""The actor that runs teachers and trials under Ray Tune: one step is one epoch."""

import os
import socket
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ray import tune

from kd_sweep.distill.checkpoints import read_history
from kd_sweep.driver.ray.worker_plugins import with_plugins
from kd_sweep.driver.ray.worker_start import look_for_cycles
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.tune.tune_trial import ASSIGNMENT, reports_in, result_of
from kd_sweep.driver.worker_messages import (
    Assignment,
    EpochDone,
    EpochReport,
    EpochsInCheckpoint,
    Message,
    TeacherAssignment,
    TeacherEpochDone,
    TeacherStarted,
    TrialFailed,
)
from kd_sweep.errors import CorruptFileError, ProcessLostError
from kd_sweep.storage.root import Root

if TYPE_CHECKING:
    from kd_sweep.driver.tune.lock_step.shared_process import Caller

Step = tuple[Message, bool]
"""What a step reports, and whether it is the last one."""


class TrialActor(tune.Trainable):
    """Runs teachers and trials one after another in one process, so that imports, datasets and teachers load once."""

    _caller: "Caller | None" = None
    """This process as the one knows it that it shares with others; None before a trial has asked there."""

    def setup(self, config: dict[str, Any]) -> None:
        """Remember what to run. Work starts with the first step, so that its errors are the trial's own."""
        self._steps = self._steps_of(config[ASSIGNMENT])
        self._failure: Exception | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take over the next trial or teacher in the same process."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train and evaluate one epoch; the checkpoint is on disk when this returns.

        What the trial raises is announced in a result first and raised in the next step, so that the driver can tell
        it from what happens to the process.
        """
        if self._failure is not None:
            raise self._failure
        try:
            message, is_last = next(self._steps)
        except ProcessLostError:  # which says nothing of the trial
            raise
        except Exception as error:
            if (told := _told_to_end(error)) is not None:
                raise told from None
            self._failure = error
            return result_of(TrialFailed(type(error).__name__, str(error), isinstance(error, OSError)))
        return result_of(message, done=is_last)

    def cleanup(self) -> None:
        """Let go of the running trial's memory."""
        self._steps = iter(())
        self._leave()

    def _leave(self) -> None:
        """Let nobody wait for this process: it does not ask for another epoch soon."""
        if self._caller is not None:
            self._caller.leave()

    def _steps_of(self, assignment: Assignment | TeacherAssignment) -> Iterator[Step]:
        if isinstance(assignment, TeacherAssignment):
            self._leave()
            return _teacher_steps(assignment)
        return self._forwarded_steps(assignment) if assignment.settings.lock_step else _trial_steps(assignment)

    def _forwarded_steps(self, assignment: Assignment) -> Iterator[Step]:
        """Yield the epochs of a trial whose student learns in a process that it shares."""
        from kd_sweep.driver.tune.lock_step.forwarded_trial import forwarded_messages
        from kd_sweep.driver.tune.lock_step.shared_process import Caller

        self._caller = self._caller or Caller()
        for message in forwarded_messages(assignment, self._caller):
            reports = reports_in(result_of(message))
            yield message, bool(reports) and reports[-1].epoch >= assignment.trial.student.epochs


def _told_to_end(error: BaseException) -> SystemExit | None:
    """Return the exit with which Ray has ended this process in the middle of a plug-in's call; None without one.

    It comes out as that plug-in's mistake, and says nothing of it.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, SystemExit):
        cause = cause.__cause__
    if cause is None:
        return None
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(cause.__traceback__)]
    return cause if any(name.partition(".")[0] == "ray" for name in frames) else None


def _teacher_steps(assignment: TeacherAssignment) -> Iterator[Step]:
    """Yield that the teacher has started, each epoch that is trained here, at last its record."""
    yield TeacherStarted(), False
    from kd_sweep.distill.teachers import ensure_teacher, teacher_epochs

    look_for_cycles()
    settings = assignment.settings
    device, num_threads = settings.device, settings.num_threads
    teacher = with_plugins(assignment.teacher, settings)
    for row in teacher_epochs(teacher, settings.root, device=device, num_threads=num_threads):
        yield TeacherEpochDone(row["epoch"]), False
    record = ensure_teacher(teacher, settings.root, device=device, num_threads=num_threads).record
    if settings.lock_step:
        from kd_sweep.driver.tune.lock_step.forwarded_trial import leave_gpu_memory

        leave_gpu_memory()
    yield record, True


def _trial_steps(assignment: Assignment) -> Iterator[Step]:
    """Yield the epochs that the checkpoint has and the driver has not, then each that is trained here."""
    from kd_sweep.distill.trial import trial_epochs

    look_for_cycles()
    settings = assignment.settings
    trial = with_plugins(assignment.trial, settings)
    num_epochs = trial.student.epochs
    root = Root.open(settings.root)
    folder = StudyFolder(root, settings.study).checkpoint_folder(trial.trial_id)
    unreported = _unreported(folder, min(assignment.known_epochs, num_epochs - 1))
    if unreported:
        yield EpochsInCheckpoint(unreported), unreported[-1].epoch >= num_epochs
    epochs = trial_epochs(
        trial,
        root=root,
        checkpoint_dir=folder,
        device=settings.device,
        num_threads=settings.num_threads,
        best_by=settings.best_by,
    )
    for row in epochs:
        report = EpochReport.of_row(row, host=socket.gethostname(), pid=os.getpid())
        yield EpochDone(report), report.epoch >= num_epochs


def _unreported(folder: Root, num_known: int) -> tuple[EpochReport, ...]:
    """Return the epochs that the checkpoint has after ``num_known``; of a trial that is done, at least one."""
    try:
        rows = read_history(folder)
    except CorruptFileError:  # the trial itself sets it aside
        return ()
    return tuple(map(EpochReport.of_row, rows[num_known:]))

"""The actor that runs teachers and trials under Ray Tune: one step is one epoch."""

import gc
import os
import socket
import traceback
from collections.abc import Iterator, Mapping
from typing import Any

from ray import tune

from kd_sweep.distill.checkpoints import read_history
from kd_sweep.driver.ray.worker_plugins import with_plugins
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.tune.tune_trial import ASSIGNMENT, result_of
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
from kd_sweep.errors import CorruptFileError
from kd_sweep.storage.root import Root

Step = tuple[Message, bool]
"""What a step reports, and whether it is the last one."""


class TrialActor(tune.Trainable):
    """Runs teachers and trials one after another in one process, so that imports, datasets and teachers load once."""

    def setup(self, config: dict[str, Any]) -> None:
        """Remember what to run. Work starts with the first step, so that its errors are the trial's own."""
        self._steps = _steps_of(config)
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
        except Exception as error:
            if (told := _told_to_end(error)) is not None:
                raise told from None
            self._failure = error
            return result_of(TrialFailed(type(error).__name__, str(error), isinstance(error, OSError)))
        return result_of(message, done=is_last)

    def cleanup(self) -> None:
        """Let go of the running trial's memory."""
        self._steps = iter(())


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


def _look_for_cycles() -> None:
    """Let Python collect again in a process that was started without (`worker_start`); what is loaded by now stays."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _steps_of(config: Mapping[str, Any]) -> Iterator[Step]:
    assignment = config[ASSIGNMENT]
    return _teacher_steps(assignment) if isinstance(assignment, TeacherAssignment) else _trial_steps(assignment)


def _teacher_steps(assignment: TeacherAssignment) -> Iterator[Step]:
    """Yield that the teacher has started, each epoch that is trained here, at last its record."""
    yield TeacherStarted(), False
    from kd_sweep.distill.teachers import ensure_teacher, teacher_epochs

    _look_for_cycles()
    settings = assignment.settings
    device, num_threads = settings.device, settings.num_threads
    teacher = with_plugins(assignment.teacher, settings)
    for row in teacher_epochs(teacher, settings.root, device=device, num_threads=num_threads):
        yield TeacherEpochDone(row["epoch"]), False
    yield ensure_teacher(teacher, settings.root, device=device, num_threads=num_threads).record, True


def _trial_steps(assignment: Assignment) -> Iterator[Step]:
    """Yield the epochs that the checkpoint has and the driver has not, then each that is trained here."""
    from kd_sweep.distill.trial import trial_epochs

    _look_for_cycles()
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

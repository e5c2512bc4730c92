"""The training of students whose trials share a process: one thread trains, and whoever asks waits for an epoch."""

import os
import socket
import threading
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn

from kd_sweep.driver.ray.worker_plugins import with_plugins
from kd_sweep.driver.ray.worker_start import look_for_cycles
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.tune.lock_step.attendance import Attendance
from kd_sweep.driver.worker_messages import Assignment, EpochDone, EpochReport, EpochsInCheckpoint

if TYPE_CHECKING:
    from kd_sweep.distill.students.student_groups import Answer, AskingTrial, StudentGroups

Told = EpochDone | EpochsInCheckpoint
"""What a trial hears of its next epoch."""


@dataclass(frozen=True)
class _Request:
    """An epoch of a trial, asked for by its process."""

    assignment: Assignment
    num_known: int
    told: "Future[Told]"


class JointTraining:
    """Trains the students of the trials of several callers, each of which asks for one epoch at a time.

    Args:
        num_expected: so many callers will come.
    """

    def __init__(self, num_expected: int) -> None:
        self._attendance = Attendance(num_expected)
        self._requests: dict[str, _Request] = {}
        self._changed = threading.Condition()
        self._trials: dict[str, AskingTrial] = {}

    def ask(self, caller: str, assignment: Assignment, stream_id: str, num_known: int) -> "Future[Told]":
        """Return what will have the next epoch of a trial, or what has ended it.

        Args:
            caller: the trial's process.
            assignment: the trial.
            stream_id: of what its student sees.
            num_known: so many of its epochs has the caller.
        """
        told: Future[Told] = Future()
        with self._changed:
            self._attendance.asks(caller, assignment.trial.trial_id, stream_id)
            self._requests[caller] = _Request(assignment, num_known, told)
            self._changed.notify()
        return told

    def leave(self, caller: str) -> None:
        """Let go of a caller's trial; it goes on from its checkpoint when it is asked for again."""
        with self._changed:
            self._attendance.leaves(caller)
            self._changed.notify()

    def run(self) -> NoReturn:
        """Train what is asked for, for ever."""
        with self._changed:
            self._changed.wait_for(lambda: self._requests)
            settings = next(iter(self._requests.values())).assignment.settings  # those of all trials of the study
        from kd_sweep.distill.students.student_groups import StudentGroups  # loads torch

        look_for_cycles()
        groups = StudentGroups(root=settings.root, device=settings.device, num_threads=settings.num_threads)
        while True:
            requests = self._next(groups)
            for caller, answer in self._answers(groups, requests).items():
                self._tell(caller, requests[caller], answer)

    def _next(self, groups: "StudentGroups") -> dict[str, _Request]:
        """Wait until trials of a stream can go on, and return what their callers have asked for."""
        with self._changed:
            while True:
                streams = self._attendance.streams_to_run()
                here = self._attendance.trials
                names = {_name(caller, trial_id) for caller, trial_id in here.items()}
                groups.keep_only(names)
                self._trials = {name: trial for name, trial in self._trials.items() if name in names}
                for callers in streams:
                    if groups.can_run([_name(caller, here[caller]) for caller in callers]):
                        return {caller: self._requests[caller] for caller in callers}
                self._changed.wait(self._attendance.patience_left_s())

    def _answers(self, groups: "StudentGroups", requests: dict[str, _Request]) -> "dict[str, Answer]":
        """Return what callers get who need not wait longer."""
        callers = {_name(caller, one.assignment.trial.trial_id): caller for caller, one in requests.items()}
        asking: dict[str, AskingTrial] = {}
        for name, caller in callers.items():
            try:
                asking[name] = self._asking(name, requests[caller])
            except Exception as error:  # a plug-in that cannot be loaded here
                return {caller: error}
        try:
            return {callers[name]: answer for name, answer in groups.answers(asking).items()}
        except Exception as error:  # of what all of them need
            return dict.fromkeys(requests, error)

    def _asking(self, name: str, request: _Request) -> "AskingTrial":
        from kd_sweep.distill.students.student_groups import AskingTrial

        if name not in self._trials:
            settings = request.assignment.settings
            trial = with_plugins(request.assignment.trial, settings)
            folder = StudyFolder(settings.root, settings.study).checkpoint_folder(trial.trial_id)
            self._trials[name] = AskingTrial(trial, folder, settings.best_by)
        return replace(self._trials[name], num_known=request.num_known)

    def _tell(self, caller: str, request: _Request, answer: "Answer") -> None:
        told = answer if isinstance(answer, Exception) else _told(answer)
        with self._changed:
            if self._requests.get(caller) is request:
                del self._requests[caller]
            if isinstance(told, Exception):
                self._attendance.leaves(caller)  # its process ends with its trial
            else:
                num_epochs = request.assignment.trial.student.epochs
                self._attendance.answered(caller, is_last=last_epoch(told) >= num_epochs)
        if isinstance(told, Exception):
            request.told.set_exception(told)
        else:
            request.told.set_result(told)


def _name(caller: str, trial_id: str) -> str:
    """Return by what `StudentGroups` knows a trial: another caller's attempt at it is another one."""
    return f"{trial_id} of {caller}"


def _told(answer: "Answer") -> Told:
    from kd_sweep.distill.students.student_groups import FoundEpochs

    match answer:
        case Exception():
            raise answer
        case FoundEpochs(rows):
            return EpochsInCheckpoint(tuple(map(EpochReport.of_row, rows)))
        case _:
            return EpochDone(EpochReport.of_row(answer, host=socket.gethostname(), pid=os.getpid()))


def last_epoch(told: Told) -> int:
    """Return the newest epoch that a trial has heard of."""
    return told.report.epoch if isinstance(told, EpochDone) else told.reports[-1].epoch

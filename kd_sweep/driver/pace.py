"""The pace of a sweep: how far it is, and how long the rest takes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from kd_sweep.driver.recorder import UNSUCCESSFUL
from kd_sweep.study.recipe import NO_CONTROL
from kd_sweep.study.spec import Objective
from kd_sweep.study.trial import TeacherConfig, TrialConfig

PACE_S = 60.0
"""After so long, or the first teacher or trial that ends, the pace so far is worth telling."""


@dataclass
class RunningTrial:
    """A trial that has started and not ended."""

    label: str
    num_epochs: int
    epoch: int = 0
    value: float | None = None
    epochs_before: int = 0
    """Epochs that it had when this run began."""
    needs_teachers: bool = False
    """Whether it has to train a teacher of its own before its first epoch."""

    @property
    def is_training_teachers(self) -> bool:
        """Whether it is still at its teachers, as far as one knows."""
        return self.needs_teachers and self.epoch == self.epochs_before

    @property
    def progress(self) -> float:
        """Which part of the trial this run has done."""
        return (self.epoch - self.epochs_before) / self.num_epochs

    @property
    def rest(self) -> float:
        """Which part of the trial is left."""
        return 1 - self.epoch / self.num_epochs


@dataclass
class RunningTeacher:
    """A teacher in training."""

    label: str
    num_epochs: int
    epoch: int = 0


@dataclass
class SweepState:
    """Counts and values that both displays draw from."""

    study: str
    objective: Objective
    teachers_total: int = 0
    teachers_done: int = 0
    teachers: dict[str, RunningTeacher] = field(default_factory=dict)
    teacher_epochs_total: int = 0
    """Of the teachers that this run trains."""
    trial_epochs_left: int = 0
    """Of all trials, while teachers are trained."""
    trial_cost: float | None = None
    """How many epochs of a teacher one of a trial takes; None where none has been measured."""
    trials_total: int = 0
    trials_done: int = 0
    trials_failed: int = 0
    trials_stopped: int = 0
    running: dict[str, RunningTrial] = field(default_factory=dict)
    best: tuple[float, str] | None = None
    started: float = field(default_factory=time.monotonic)
    _work_started: float | None = None
    _num_ended: int = 0
    _ended_progress: float = 0.0
    _teacher_epochs: dict[str, int] = field(default_factory=dict)
    _teachers_started: float | None = None
    _teacher_epochs_here: int = 0
    _teachers_ended_here: int = 0

    @property
    def teacher_epochs(self) -> int:
        """How many epochs the teachers that this run trains have, earlier runs' included."""
        return sum(self._teacher_epochs.values())

    def teacher_started(self, teacher_id: str, label: str, num_epochs: int) -> None:
        """Take a teacher into the list of those in training."""
        self.teachers[teacher_id] = RunningTeacher(label, num_epochs)
        self._teachers_started = self._teachers_started or time.monotonic()

    def teacher_epoch(self, teacher_id: str, epoch: int) -> None:
        """Count an epoch that a teacher has just been trained."""
        self.teachers[teacher_id].epoch = self._teacher_epochs[teacher_id] = epoch
        self._teacher_epochs_here += 1

    def teacher_done(self, teacher_id: str) -> None:
        """Count a teacher as trained."""
        self.teachers_done += 1
        self._teachers_ended_here += 1
        if teacher := self.teachers.pop(teacher_id, None):
            self._teacher_epochs[teacher_id] = teacher.num_epochs

    def trials_begin(self, total: int, done: int) -> None:
        """Say how many trials the study has, and how many of them were done before this run."""
        self.trials_total, self.trials_done = total, done
        self._work_started = time.monotonic()

    def work_added(self, num_trials: int, num_teachers: int, missing_epochs: Sequence[int]) -> None:
        """Count trials that nobody knew of before, and their teachers, of which some are there already."""
        self.trials_total += num_trials
        self.teachers_total += num_teachers
        self.teachers_done += num_teachers - len(missing_epochs)
        self.teacher_epochs_total += sum(missing_epochs)

    @property
    def num_training_teachers(self) -> int:
        """How many running trials train teachers of their own."""
        return sum(trial.is_training_teachers for trial in self.running.values())

    def trial_started(
        self, trial_id: str, config: TrialConfig, epochs_done: int, *, needs_teachers: bool = False
    ) -> None:
        """Take a trial into the list of running ones, for its first attempt in this run or a later one."""
        earlier = self.running.get(trial_id)
        before = epochs_done if earlier is None else earlier.epochs_before
        self.running[trial_id] = RunningTrial(
            describe(config), config.student.epochs, epochs_done, epochs_before=before, needs_teachers=needs_teachers
        )

    def trial_ended(self, trial_id: str, status: str) -> RunningTrial | None:
        """Count a trial as ended, and return it; a trial that was stopped early has done its part."""
        self.trials_done += 1
        self.trials_failed += status in UNSUCCESSFUL
        self.trials_stopped += status == "stopped"
        trial = self.running.pop(trial_id, None)
        if trial is not None:
            self._num_ended += 1
            self._ended_progress += trial.progress + trial.rest
        return trial

    def eta_s(self) -> float | None:
        """Return the seconds that what is left will take at this run's pace; None before there is a pace.

        While teachers are trained an epoch of a trial counts as `trial_cost` of theirs, as one where that is unknown.
        """
        if self._work_started is None:
            return self._teachers_eta_s()
        elapsed = time.monotonic() - self._work_started
        done = self._ended_progress + sum(trial.progress for trial in self.running.values())
        if done <= 0 or (elapsed < PACE_S and not self._num_ended):
            return None
        waiting = self.trials_total - self.trials_done - len(self.running)
        return elapsed / done * max(waiting + sum(trial.rest for trial in self.running.values()), 0.0)

    def _teachers_eta_s(self) -> float | None:
        elapsed = time.monotonic() - (self._teachers_started or time.monotonic())
        if not self._teacher_epochs_here or (elapsed < PACE_S and not self._teachers_ended_here):
            return None
        left = self.teacher_epochs_total - self.teacher_epochs + self.trial_epochs_left * (self.trial_cost or 1.0)
        return elapsed / self._teacher_epochs_here * max(left, 0.0)


def describe(config: TrialConfig) -> str:
    """Return in words which trial of a study this is."""
    models = f" ({', '.join(config.teacher_models)})" if config.members else ""
    size = f"{config.ensemble_size} teacher{'s' if config.ensemble_size > 1 else ''}{models}"
    is_apart = config.student_strength != config.mean_teacher_strength
    student = f", student {config.student_strength:g}" if is_apart else ""
    listed = config.teacher_strengths if len(set(config.teacher_strengths)) > 1 else config.teacher_strengths[:1]
    strengths = " + ".join(f"{strength:g}" for strength in listed)
    return f"strength {strengths}{student}, {size}, seed {config.seed}"


def describe_teacher(teacher: TeacherConfig) -> str:
    """Return in words which teacher of a study this is."""
    control = "" if teacher.control == NO_CONTROL else f"{teacher.control}, "
    return f"{control}strength {teacher.augmentation_strength:g}, seed {teacher.seed}, member {teacher.member}"

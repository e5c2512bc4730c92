"""The events of a run: what `launch` and `resume` tell while they work, to a display or to any other function."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kd_sweep.driver.interrupts import SweepInterrupted
from kd_sweep.study.spec import Objective
from kd_sweep.study.trial import TrialConfig


@dataclass(frozen=True)
class RunBegan:
    """There is something to run. The first event; a study that is finished has none."""

    study: str
    """Its name."""
    folder: str
    """Where it is: a path or a URI."""
    objective: Objective
    """The first one of the study."""


@dataclass(frozen=True)
class Told:
    """Something that happened, in words."""

    text: str
    """One line."""
    is_routine: bool = False
    """Whether other events, or bars made of them, tell the same."""


@dataclass(frozen=True)
class WorkCounted:
    """How much is left to do."""

    trial_epochs: int
    """Epochs of all trials together, at most."""
    trial_cost: float | None
    """How many epochs of a teacher one of a trial takes; None where none has been measured."""


@dataclass(frozen=True)
class TeachersBegan:
    """Teachers are trained from now on, before the trials that need them."""

    total: int
    """How many the known trials need."""
    missing_epochs: tuple[int, ...]
    """Of how many epochs each is that has to be trained."""


@dataclass(frozen=True)
class TeacherBegan:
    """A worker trains a teacher from now on; after a lost process, once more."""

    teacher_id: str
    label: str
    """Which one it is, in words."""
    num_epochs: int


@dataclass(frozen=True)
class TeacherEpoch:
    """A teacher has been trained for one more epoch."""

    teacher_id: str
    epoch: int
    """From 1."""


@dataclass(frozen=True)
class TeacherLost:
    """A teacher's worker has gone, or its training has failed; `Told` says why."""

    teacher_id: str


@dataclass(frozen=True)
class TeacherTrained:
    """A teacher is finished."""

    teacher_id: str
    label: str
    val_accuracy: float
    """A fraction."""


@dataclass(frozen=True)
class TrialsBegan:
    """Trials are run from now on."""

    total: int
    """How many the study has, at most."""
    done: int
    """How many of them were finished before this run."""


@dataclass(frozen=True)
class SeedsJudged:
    """A study with adaptive seeds was looked at: it goes on with another seed, or is done."""

    text: str
    """How many seeds there are, and which verdicts they leave open, on one line."""
    num_trials: int
    """That are added; 0 where the study is done, or its budget used up."""
    num_teachers: int
    """That those need."""
    missing_epochs: tuple[int, ...]
    """Of how many epochs each of these is that has to be trained."""


@dataclass(frozen=True)
class TrialBegan:
    """A trial runs from now on: its first attempt in this run, or a later one."""

    trial_id: str
    config: TrialConfig
    epochs_done: int
    """Epochs that it has already."""
    needs_teachers: bool = False
    """Whether it trains teachers of its own first."""


@dataclass(frozen=True)
class TrialEpoch:
    """A trial has one more epoch."""

    trial_id: str
    epoch: int
    """From 1."""
    metrics: Mapping[str, float | None]
    """Every metric of `docs/metrics.md`; None where one has no meaning."""


@dataclass(frozen=True)
class TrialEnded:
    """A trial has ended."""

    trial_id: str
    status: str
    """`completed`, `stopped`, `failed`, `lost` or `preempted`."""
    error: str | None = None
    """One line, of the last three."""


@dataclass(frozen=True)
class Tick:
    """Nothing is new. Comes several times a second, so that a display can be drawn anew."""


@dataclass(frozen=True)
class LastWords:
    """The process ends right after: Ray on this machine was killed, and the process waits for it inside a call."""

    text: str
    """Why, and how to go on. One line."""


Event = (
    RunBegan
    | Told
    | WorkCounted
    | TeachersBegan
    | TeacherBegan
    | TeacherEpoch
    | TeacherLost
    | TeacherTrained
    | TrialsBegan
    | SeedsJudged
    | TrialBegan
    | TrialEpoch
    | TrialEnded
    | Tick
    | LastWords
)

Progress = Callable[[Event], None]
"""What is told of a run's events, one at a time."""


class Announcer:
    """Hands events to a function of the caller's. What that raises ends the run in order, at its next safe point.

    Args:
        progress: the function; None hears nothing.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._lock = threading.RLock()  # what Ray's daemons report comes in a thread
        self.failure: Exception | None = None
        """What the function has raised; from then on it is not called."""

    def __call__(self, event: Event) -> None:
        """Tell of an event."""
        with self._lock:
            if self._progress is None or self.failure is not None:
                return
            try:
                self._progress(event)
            except Exception as error:
                self.failure = error

    def tell(self, text: str) -> None:
        """Tell in words of something that happened."""
        self(Told(text))

    def check(self) -> None:
        """Raise `SweepInterrupted` if the function has raised."""
        if self.failure is not None:
            raise SweepInterrupted("the progress function")

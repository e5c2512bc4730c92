"""Where the trials of a sweep come from: a source suggests those that are not done yet, and learns how they end."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from kd_sweep.study.trial import TrialConfig


@dataclass(frozen=True)
class Suggestion:
    """A trial that shall run, and what the sampler has to know of it after a resume."""

    trial: TrialConfig
    number: int | None = None
    """Index among all points that an adaptive sampler has suggested for the study, known ones included, from 0."""
    generation: int | None = None
    """Of a genetic sampler."""


@dataclass(frozen=True)
class KnownTrial:
    """A trial that the tables hold already."""

    config: TrialConfig
    finished: bool
    values: tuple[float, ...] | None
    """The last value of each objective, where the trial has them."""
    number: int | None = None
    """As in its `Suggestion`; None where another kind of sampler suggested it."""
    generation: int | None = None


class Source(Protocol):
    """Where trials come from."""

    def next(self) -> Suggestion | None:
        """Return the next trial to run, or None when there is none left."""

    def tell(self, trial: TrialConfig, values: tuple[float, ...] | None) -> None:
        """Learn how a trial ended: its objectives' values, or None where it failed."""


class PlannedSource:
    """A finite list of trials, in order."""

    def __init__(self, trials: Iterable[TrialConfig]) -> None:
        self._trials = iter(trials)

    def next(self) -> Suggestion | None:
        """Take the first of the list."""
        trial = next(self._trials, None)
        return None if trial is None else Suggestion(trial)

    def tell(self, trial: TrialConfig, values: tuple[float, ...] | None) -> None:
        """Learn nothing: the list is fixed."""

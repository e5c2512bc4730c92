"""Where the trials of a sweep come from: a source suggests those that are not done yet, and learns how they end."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final, Protocol

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


class Later:
    """That there may be a trial once others have ended."""


LATER: Final = Later()


class Source(Protocol):
    """Where trials come from."""

    def next(self) -> Suggestion | Later | None:
        """Return the next trial to run, or None when there is none left."""

    def tell(self, trial: TrialConfig, values: tuple[float, ...] | None) -> None:
        """Learn how a trial ended: its objectives' values, or None where it failed."""


LOOKED_AHEAD = 1000
"""Trials, of which those of one stream are put beside each other."""


def beside_each_other(trials: Iterable[TrialConfig]) -> Iterator[TrialConfig]:
    """Yield trials so that those of one stream come one after another; apart from that they keep their order."""
    rest = iter(trials)
    while ahead := list(islice(rest, LOOKED_AHEAD)):
        by_stream: dict[str, list[TrialConfig]] = {}
        for trial in ahead:
            by_stream.setdefault(trial.stream.stream_id, []).append(trial)
        yield from chain.from_iterable(by_stream.values())


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


class GrowingSource:
    """Trials of one seed after another: what comes after depends on how those before have ended.

    No trial is started whose need is not known yet, so slots are idle while the last trials of a seed run.

    Args:
        trials: those that are outstanding by now, in order; each is taken when the one before is handed out.
        grow: returns the trials that the study is to have after those, by its tables; none where it is done.
        has_ended: whether the tables have the end of a trial, by its id.
    """

    def __init__(
        self,
        trials: Iterable[TrialConfig],
        grow: Callable[[], Iterable[TrialConfig]],
        has_ended: Callable[[str], bool],
    ) -> None:
        self._grow, self._has_ended = grow, has_ended
        self._handed_out: set[str] = set()
        self._told: set[str] = set()
        self._is_done = False
        self._go_on_with(trials)

    def _go_on_with(self, trials: Iterable[TrialConfig]) -> None:
        self._trials = iter(trials)
        self._following = next(self._trials, None)

    def next(self) -> Suggestion | Later | None:
        """Take the first trial; where there is none, wait for those that run, and ask for more."""
        if self._following is None and not self._is_done:
            if self._handed_out - self._told or not all(map(self._has_ended, self._told)):
                return LATER
            self._go_on_with(self._grow())
        if self._following is None:
            self._is_done = True
            return None
        trial, self._following = self._following, next(self._trials, None)
        self._handed_out.add(trial.trial_id)
        return Suggestion(trial)

    def tell(self, trial: TrialConfig, values: tuple[float, ...] | None) -> None:
        """Learn that a trial has ended."""
        self._told.add(trial.trial_id)

"""A point that an adaptive sampler has suggested: its trials, one for each seed, and what becomes of them together."""

from dataclasses import dataclass, field
from typing import Any

from kd_sweep.study.space.conditions import Point
from kd_sweep.study.trial import TrialConfig

Outcome = tuple[float, ...] | None
"""The value of each objective; None of a trial that failed."""


@dataclass
class SuggestedPoint:
    """A point whose trials run, or have run."""

    point: Point
    """Without its seed, in a study with `seeds`."""
    trials: dict[str, TrialConfig]
    """By their ids."""
    params: dict[str, Any]
    """The point as Optuna sees it."""
    number: int | None = None
    """Of the suggestion; None where another kind of sampler has suggested the point."""
    generation: int | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """Of those trials that have ended, by their ids."""

    @property
    def is_over(self) -> bool:
        """Whether all of its trials have ended."""
        return len(self.outcomes) == len(self.trials)

    @property
    def outcome(self) -> Outcome:
        """The mean of each objective over the trials that have not failed; None where all have.

        In the order of the seeds, so that the sum is the same whichever ended first.
        """
        outcomes = [values for trial_id in self.trials if (values := self.outcomes.get(trial_id)) is not None]
        return tuple(sum(values) / len(values) for values in zip(*outcomes, strict=True)) or None

"""Stopping rule `median`: a trial ends where it has never been as good as half of the others were on average."""

from collections.abc import Iterator
from dataclasses import dataclass

from kd_sweep.catalogue.decorators import stopping_rule
from kd_sweep.catalogue.parameters import Count
from kd_sweep.driver.stopping.history import History
from kd_sweep.study.scheduler import Asked, OneMetricParameters


class MedianParameters(OneMetricParameters):
    """Of `median`."""

    grace_period: Count = 1
    """No trial stops before this epoch."""
    min_trials: Count = 3
    """No trial stops before this many others reached the epoch."""

    def mistakes(self, asked: Asked) -> Iterator[tuple[str, str]]:
        """Yield what no trial, or too few of them, can reach."""
        yield from asked.grace_period(self.grace_period)
        if self.min_trials >= asked.num_trials:
            trials = f"{asked.num_trials}, the trials of the study"
            yield "min_trials", f"{self.min_trials} is not below {trials}: no trial could stop early"


@dataclass(frozen=True)
class Median:
    """Median stopping (Golovin et al., "Google Vizier: A Service for Black-Box Optimization", KDD 2017).

    A trial ends where its best score so far is below the median of the other trials' running means: the mean of each
    over the epochs from ``grace_period`` to the trial's newest, of those that have reached that epoch. One score is
    judged.
    """

    grace_period: int
    """No trial ends before this epoch."""
    min_trials: int
    """Nor before this many others have reached its epoch."""

    def stops(self, history: History, trial_id: str) -> bool:
        """Return whether the trial ends with its newest epoch."""
        import numpy as np  # a study file is checked without it

        epoch = history.last_epoch(trial_id)
        if epoch < self.grace_period or trial_id not in history.at_epoch(epoch):
            return False
        means = [mean for other, mean in history.means(self.grace_period, epoch).items() if other != trial_id]
        if len(means) < self.min_trials:
            return False
        best = max(scores[0] for scores in history.of_trial(trial_id) if scores is not None)
        return bool(best < np.median(means))


@stopping_rule("median", parameters=MedianParameters)
def median(parameters: MedianParameters, _: int) -> Median:
    """Return the rule."""
    return Median(parameters.grace_period, parameters.min_trials)

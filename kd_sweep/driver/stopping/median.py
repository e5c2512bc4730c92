"""The median rule: a trial ends where it has never been as good as half of the others were on average."""

from dataclasses import dataclass

import numpy as np

from kd_sweep.driver.stopping.history import History


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
        epoch = history.last_epoch(trial_id)
        if epoch < self.grace_period or trial_id not in history.at_epoch(epoch):
            return False
        means = [mean for other, mean in history.means(self.grace_period, epoch).items() if other != trial_id]
        if len(means) < self.min_trials:
            return False
        best = max(scores[0] for scores in history.of_trial(trial_id) if scores is not None)
        return bool(best < np.median(means))

"""The patience rule: a trial ends where it has not improved for some epochs."""

from dataclasses import dataclass

from kd_sweep.driver.stopping.history import History


@dataclass(frozen=True)
class Patience:
    """A trial ends after ``patience`` epochs without an improvement, whatever other trials do. One score is judged.

    An improvement is a score more than ``min_delta`` above that of the last improvement; the first score is one.
    """

    grace_period: int
    """No trial ends before this epoch."""
    patience: int
    min_delta: float

    def stops(self, history: History, trial_id: str) -> bool:
        """Return whether the trial ends with its newest epoch."""
        best, improved = None, 0
        for epoch, scores in enumerate(history.of_trial(trial_id), start=1):
            if scores is not None and (best is None or scores[0] - best > self.min_delta):
                best, improved = scores[0], epoch
        epoch = history.last_epoch(trial_id)
        return best is not None and epoch >= self.grace_period and epoch - improved >= self.patience

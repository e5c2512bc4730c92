"""Asynchronous successive halving: at each rung the trials of the lower scores end."""

from dataclasses import dataclass

from kd_sweep.driver.stopping.history import History
from kd_sweep.driver.stopping.rungs import falls_behind, scores_at_rung


@dataclass(frozen=True)
class Asha:
    """Asynchronous successive halving in its stopping form (Li et al., arXiv 1810.05934, with one bracket).

    A trial ends at a rung where its score is below the 1 - 1/``reduction_factor`` quantile of the scores of those that
    were there before it. The first at a rung, and whoever equals the quantile, go on. One score is judged.
    """

    rungs: tuple[int, ...]
    """Epochs at which trials are compared, as `rungs.rung_epochs` returns them."""
    reduction_factor: float

    def stops(self, history: History, trial_id: str) -> bool:
        """Return whether the trial ends with its newest epoch."""
        return falls_behind(trial_id, scores_at_rung(history, trial_id, self.rungs), self.reduction_factor)

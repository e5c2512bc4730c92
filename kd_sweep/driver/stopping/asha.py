"""Asynchronous successive halving: at each rung the trials of the lower scores end."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from kd_sweep.driver.stopping.history import History


@dataclass(frozen=True)
class Asha:
    """Asynchronous successive halving in its stopping form (Li et al., arXiv 1810.05934, with one bracket).

    A trial ends at a rung where its score is below the 1 - 1/``reduction_factor`` quantile of the scores of those that
    were there before it. The first at a rung, and whoever equals the quantile, go on. One score is judged.
    """

    rungs: tuple[int, ...]
    """Epochs at which trials are compared, as `rung_epochs` returns them."""
    reduction_factor: float

    def stops(self, history: History, trial_id: str) -> bool:
        """Return whether the trial ends with its newest epoch."""
        epoch = history.last_epoch(trial_id)
        at_rung = history.at_epoch(epoch)
        if epoch not in self.rungs or trial_id not in at_rung:
            return False
        others = [scores[0] for other, scores in at_rung.items() if other != trial_id]
        return falls_behind(at_rung[trial_id][0], others, self.reduction_factor)


def rung_epochs(grace_period: int, reduction_factor: float, longest: int) -> tuple[int, ...]:
    """Return the epochs ``grace_period`` · ``reduction_factor``^k, rounded up, that lie before ``longest``."""
    rungs: list[int] = []
    while (epoch := math.ceil(grace_period * reduction_factor ** len(rungs))) < longest:
        rungs.append(epoch)
    return tuple(rungs)


def falls_behind(score: float, others: Collection[float], reduction_factor: float) -> bool:
    """Return whether a score is below the 1 - 1/``reduction_factor`` quantile of others, of which there are some."""
    return len(others) > 0 and bool(score < np.percentile(list(others), (1 - 1 / reduction_factor) * 100))

"""Stopping rule `asha`, asynchronous successive halving: at each rung the trials of the lower scores end."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import Field

from kd_sweep.catalogue.decorators import stopping_rule
from kd_sweep.catalogue.parameters import Count
from kd_sweep.driver.stopping.history import History
from kd_sweep.driver.stopping.rungs import falls_behind, rung_epochs, scores_at_rung
from kd_sweep.study.scheduler import Asked, OneMetricParameters


class AshaParameters(OneMetricParameters):
    """Of `asha`."""

    grace_period: Count = 1
    """The first rung, in epochs."""
    reduction_factor: float = Field(2.0, ge=1.5, le=100.0)
    """Rungs are `reduction_factor` times apart, and the best 1/`reduction_factor` go on from each. Below 1.5 two rungs
    can fall into one epoch."""

    def mistakes(self, asked: Asked) -> Iterator[tuple[str, str]]:
        """Yield a first rung that no trial reaches."""
        return asked.grace_period(self.grace_period)


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


@stopping_rule("asha", parameters=AshaParameters)
def asha(parameters: AshaParameters, longest: int) -> Asha:
    """Return the rule for trials of at most ``longest`` epochs."""
    factor = parameters.reduction_factor
    return Asha(rung_epochs(parameters.grace_period, factor, longest), factor)

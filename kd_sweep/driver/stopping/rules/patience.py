"""Stopping rule `patience`: a trial ends where it has not improved for some epochs."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import Field

from kd_sweep.catalogue.decorators import stopping_rule
from kd_sweep.catalogue.parameters import Count
from kd_sweep.driver.stopping.history import History
from kd_sweep.study.scheduler import Asked, OneMetricParameters


class PatienceParameters(OneMetricParameters):
    """Of `patience`."""

    grace_period: Count = 1
    """No trial stops before this epoch."""
    patience: Count = 5
    """Epochs without an improvement after which a trial stops."""
    min_delta: float = Field(0.0, ge=0.0)
    """An improvement is better than the last one by more than this."""

    def mistakes(self, asked: Asked) -> Iterator[tuple[str, str]]:
        """Yield what no trial can reach."""
        yield from asked.grace_period(self.grace_period)
        if self.patience >= asked.longest - 1:
            bound = f"student.epochs - 1, {asked.longest - 1}"
            yield "patience", f"{self.patience} is not below {bound}: no trial could stop early"


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


@stopping_rule("patience", parameters=PatienceParameters)
def patience(parameters: PatienceParameters, _: int) -> Patience:
    """Return the rule."""
    return Patience(parameters.grace_period, parameters.patience, parameters.min_delta)

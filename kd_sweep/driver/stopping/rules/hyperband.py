"""Stopping rule `hyperband`: trials are spread over several successive halvings that begin at different epochs."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from pydantic import Field

from kd_sweep.catalogue.decorators import stopping_rule
from kd_sweep.catalogue.parameters import Count
from kd_sweep.driver.stopping.history import History
from kd_sweep.driver.stopping.rungs import falls_behind, rung_epochs, scores_at_rung
from kd_sweep.study.identity import derived_seed
from kd_sweep.study.scheduler import Asked, OneMetricParameters


class HyperbandParameters(OneMetricParameters):
    """Of `hyperband`."""

    grace_period: Count = 1
    """The first rung of bracket 0, in epochs."""
    reduction_factor: float = Field(3.0, ge=1.5, le=100.0)
    """Rungs are `reduction_factor` times apart, and so are the first rungs of the brackets."""
    brackets: Count | None = None
    """How many, those that begin earliest; all that begin within `student.epochs` when null."""

    def mistakes(self, asked: Asked) -> Iterator[tuple[str, str]]:
        """Yield what no trial can reach."""
        yield from asked.grace_period(self.grace_period)
        if (self.brackets or 1) > (most := self.max_brackets(asked.longest)):
            within = f"{most}, the brackets that begin within student.epochs, {asked.longest}"
            yield "brackets", f"{self.brackets} is more than {within}"

    def max_brackets(self, longest: int) -> int:
        """Return how many brackets have their first rung within ``longest`` epochs."""
        first_rungs = (math.ceil(self.grace_period * self.reduction_factor**index) for index in itertools.count())
        return sum(1 for _ in itertools.takewhile(lambda rung: rung <= longest, first_rungs))


@dataclass(frozen=True)
class Hyperband:
    """Asynchronous Hyperband (Li et al., arXiv 1603.06560 and 1810.05934).

    Bracket *s* is an `Asha` whose first rung is ``reduction_factor``^s times later than that of bracket 0; only trials
    of one bracket are compared. A trial's bracket follows from its id and the shares of the brackets: it is the same in
    every run, and whatever other trials there are.
    """

    brackets: tuple[tuple[int, ...], ...]
    """The rungs of each bracket, those of bracket 0, which begins earliest, first."""
    shares: tuple[float, ...]
    """Of the trials in each bracket, as `bracket_shares` returns them."""
    reduction_factor: float

    def stops(self, history: History, trial_id: str) -> bool:
        """Return whether the trial ends with its newest epoch."""
        bracket = self.bracket_of(trial_id)
        at_rung = scores_at_rung(history, trial_id, self.brackets[bracket])
        of_bracket = {other: scores for other, scores in at_rung.items() if self.bracket_of(other) == bracket}
        return falls_behind(trial_id, of_bracket, self.reduction_factor)

    def bracket_of(self, trial_id: str) -> int:
        """Return the index of the trial's bracket."""
        bounds = list(itertools.accumulate(self.shares))[:-1]
        return sum(_fraction(trial_id) >= bound for bound in bounds)


def bracket_shares(num_brackets: int, max_brackets: int, reduction_factor: float) -> tuple[float, ...]:
    """Return the share of trials in each bracket, in sum 1: Hyperband's numbers of configurations, not rounded.

    A bracket that halves *h* times has η^h / (h + 1) of them in proportion (arXiv 1603.06560, Algorithm 1), so that all
    brackets take about as many epochs; η is ``reduction_factor``, and bracket 0 halves ``max_brackets`` - 1 times.
    """
    weights = [reduction_factor**h / (h + 1) for h in range(max_brackets - 1, max_brackets - 1 - num_brackets, -1)]
    return tuple(weight / sum(weights) for weight in weights)


@cache
def _fraction(trial_id: str) -> float:
    """Return a number in [0, 1) that is spread evenly over trials."""
    return (derived_seed("hyperband", trial_id) >> 10) / 2**53


@stopping_rule("hyperband", parameters=HyperbandParameters)
def hyperband(parameters: HyperbandParameters, longest: int) -> Hyperband:
    """Return the rule for trials of at most ``longest`` epochs."""
    factor, most = parameters.reduction_factor, parameters.max_brackets(longest)
    num_brackets = parameters.brackets or most
    rungs = rung_epochs(parameters.grace_period, factor, longest)
    # The rungs of bracket s are those of bracket 0 without the first s.
    return Hyperband(
        tuple(rungs[index:] for index in range(num_brackets)), bracket_shares(num_brackets, most, factor), factor
    )

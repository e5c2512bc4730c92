"""Stopping rule `pareto_asha`, successive halving for several objectives: at each rung trials are ranked."""

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import Field

from kd_sweep.catalogue.decorators import stopping_rule
from kd_sweep.catalogue.parameters import Count
from kd_sweep.driver.stopping.history import History
from kd_sweep.driver.stopping.rungs import rung_epochs, scores_at_rung
from kd_sweep.study.scheduler import Asked, StoppingParameters


class ParetoAshaParameters(StoppingParameters):
    """Of `pareto_asha`."""

    grace_period: Count = 1
    """The first rung, in epochs."""
    reduction_factor: float = Field(2.0, ge=1.5, le=100.0)
    """Rungs are `reduction_factor` times apart, and the best 1/`reduction_factor` go on from each."""

    def mistakes(self, asked: Asked) -> Iterator[tuple[str, str]]:
        """Yield a first rung that no trial reaches, and a study with nothing to weigh against each other."""
        yield from asked.grace_period(self.grace_period)
        if asked.num_objectives == 1:
            rule = "'pareto_asha' ranks trials by several objectives, and the study has one"
            yield "name", f"{rule}; name another, or take asha"


@dataclass(frozen=True)
class ParetoAsha:
    """Asynchronous successive halving by non-dominated ranking (Schmucker et al., arXiv 2106.12639).

    A trial ends at a rung unless it is among the best 1/``reduction_factor`` of the trials that have reached the rung,
    itself included. Trials that none of the others dominates come first, then those that none of the rest dominates,
    and so on; an epsilon net orders those of one front (`pareto_ranking`). Whoever is ranked first goes on.
    """

    rungs: tuple[int, ...]
    """Epochs at which trials are compared, as `rungs.rung_epochs` returns them."""
    reduction_factor: float

    def stops(self, history: History, trial_id: str) -> bool:
        """Return whether the trial ends with its newest epoch."""
        from kd_sweep.driver.stopping.pareto_ranking import num_ranked_before  # it loads NumPy

        at_rung = scores_at_rung(history, trial_id, self.rungs)
        if not at_rung:
            return False
        before = num_ranked_before(at_rung[trial_id], list(at_rung.values()))
        return before * self.reduction_factor >= len(at_rung)


@stopping_rule("pareto_asha", parameters=ParetoAshaParameters)
def pareto_asha(parameters: ParetoAshaParameters, longest: int) -> ParetoAsha:
    """Return the rule for trials of at most ``longest`` epochs."""
    factor = parameters.reduction_factor
    return ParetoAsha(rung_epochs(parameters.grace_period, factor, longest), factor)

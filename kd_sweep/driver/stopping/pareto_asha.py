"""Successive halving for several objectives: at each rung trials are ranked by dominance."""

from dataclasses import dataclass

from kd_sweep.driver.stopping.history import History
from kd_sweep.driver.stopping.pareto_ranking import num_ranked_before
from kd_sweep.driver.stopping.rungs import scores_at_rung


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
        at_rung = scores_at_rung(history, trial_id, self.rungs)
        if not at_rung:
            return False
        before = num_ranked_before(at_rung[trial_id], list(at_rung.values()))
        return before * self.reduction_factor >= len(at_rung)

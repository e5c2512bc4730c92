"""A stopping rule: a trial ends where it is far behind the best that any trial has reported at the same epoch."""

from dataclasses import dataclass

from pydantic import Field

import kd_sweep


class Behind(kd_sweep.Parameters):
    """The parameters of the rule; they are keys of `scheduler` in a study file."""

    margin: float = Field(0.2, gt=0)
    """How far behind, in the unit of the first objective."""
    grace_period: int = Field(1, ge=1)
    """No trial ends before this epoch."""


@dataclass(frozen=True)
class Rule:
    """It keeps no state: what it has to know is in the history, so a resumed study decides as an unbroken one."""

    margin: float
    grace_period: int

    def stops(self, history, trial_id):
        """Return whether the trial ends with its newest epoch. Scores are such that greater is better."""
        epoch = history.last_epoch(trial_id)
        scores = history.at_epoch(epoch)
        if epoch < self.grace_period or trial_id not in scores:
            return False
        best = max(first for first, *_ in scores.values())
        return scores[trial_id][0] < best - self.margin


@kd_sweep.stopping_rule("behind", parameters=Behind)
def behind(parameters, longest):
    """Return the rule; `longest` is the number of epochs of the study's longest trial."""
    return Rule(parameters.margin, parameters.grace_period)

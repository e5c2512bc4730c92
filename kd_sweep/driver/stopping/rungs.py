"""Rungs: the epochs at which successive halving compares trials, and the scores that trials have there."""

import math
from collections.abc import Collection, Mapping

from kd_sweep.driver.stopping.history import History, Scores


def rung_epochs(grace_period: int, reduction_factor: float, longest: int) -> tuple[int, ...]:
    """Return the epochs ``grace_period`` · ``reduction_factor``^k, rounded up, that lie before ``longest``."""
    rungs: list[int] = []
    while (epoch := math.ceil(grace_period * reduction_factor ** len(rungs))) < longest:
        rungs.append(epoch)
    return tuple(rungs)


def scores_at_rung(history: History, trial_id: str, rungs: Collection[int]) -> Mapping[str, Scores]:
    """Return the scores of all trials at this trial's newest epoch, its own included.

    None at all where nothing is to be compared: the epoch is no rung, or the trial has no score there.
    """
    epoch = history.last_epoch(trial_id)
    at_epoch = history.at_epoch(epoch)
    return at_epoch if epoch in rungs and trial_id in at_epoch else {}


def falls_behind(trial_id: str, at_rung: Mapping[str, Scores], reduction_factor: float) -> bool:
    """Return whether a trial's first score is below the 1 - 1/``reduction_factor`` quantile of the others', if any."""
    import numpy as np  # a study file is checked without it

    others = [scores[0] for other, scores in at_rung.items() if other != trial_id]
    return bool(others) and bool(at_rung[trial_id][0] < np.percentile(others, (1 - 1 / reduction_factor) * 100))

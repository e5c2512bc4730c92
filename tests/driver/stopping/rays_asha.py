"""Ray's own ASHA behind the interface of ours, to compare decisions with."""

from types import SimpleNamespace
from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler

from kd_sweep.driver.stopping.history import Scores


class RaysAsha:
    """Ray's scheduler, told of epochs in the same way."""

    def __init__(self, grace_period: int, factor: float, longest: int) -> None:
        settings: dict[str, Any] = {"grace_period": grace_period, "reduction_factor": factor, "max_t": longest}
        self._scheduler = AsyncHyperBandScheduler(time_attr="epoch", metric="score", mode="max", **settings)
        self._trials: dict[str, Any] = {}

    def stops(self, trial_id: str, epoch: int, scores: Scores) -> bool:
        """Report an epoch and return Ray's decision."""
        if trial_id not in self._trials:
            self._trials[trial_id] = SimpleNamespace(trial_id=trial_id)
            self._scheduler.on_trial_add(None, self._trials[trial_id])
        result = {"epoch": epoch, "score": scores[0]}
        return self._scheduler.on_trial_result(None, self._trials[trial_id], result) == self._scheduler.STOP

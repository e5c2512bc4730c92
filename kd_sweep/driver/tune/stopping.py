"""The scheduler that carries a study's stopping rule to Ray Tune: it stops trials, and starts them in order."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from kd_sweep.driver.stopping.replay import Judge


class RuleScheduler(FIFOScheduler):
    """Asks a rule after every epoch whether the trial goes on.

    Args:
        judge: decides; it knows the epochs of earlier runs.
        checkpoint_rows: returns the epochs in a trial's newest checkpoint, by the trial's id. A worker can die between
            its checkpoint and its report, and the next one goes on after that epoch.
    """

    def __init__(self, judge: Judge, checkpoint_rows: Callable[[str], Iterable[Mapping[str, Any]]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._judge = judge
        self._checkpoint_rows = checkpoint_rows

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return whether the trial goes on. Tune asks before it calls the callbacks, and not after the last epoch."""
        trial_id = trial.config["trial_id"]
        return str(self.STOP if self._add(trial_id, result) and self._judge.stops(trial_id) else self.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Count a trial's last epoch. Of a stopped trial it is known."""
        self._add(trial.config["trial_id"], result)

    def _add(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        if "epoch" not in result:  # it tells of a failure
            return False
        first, last = self._judge.last_epoch(trial_id) + 1, result["epoch"]
        if first < last:
            for row in self._checkpoint_rows(trial_id):
                if first <= row["epoch"] < last:
                    self._judge.add(trial_id, row)
        return self._judge.add(trial_id, result)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its scheduler; nothing ever reads that copy

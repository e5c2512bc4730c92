"""The scheduler that carries a study's stopping rule to Ray Tune: it stops trials, and starts them in order."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from kd_sweep.driver.stopping.replay import Judge
from kd_sweep.driver.tune.tune_trial import TuneTrial, report_in, study_trial_id
from kd_sweep.driver.worker_messages import EpochReport


class RuleScheduler(FIFOScheduler):
    """Asks a rule after every epoch whether the trial goes on.

    Args:
        judge: decides; it knows the epochs of earlier runs.
        checkpoint_reports: returns the epochs in a trial's newest checkpoint, by the trial's id. A worker can die
            between its checkpoint and its report, and the next one goes on after that epoch.
    """

    def __init__(self, judge: Judge, checkpoint_reports: Callable[[str], Iterable[EpochReport]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._judge = judge
        self._checkpoint_reports = checkpoint_reports

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        """Return whether the trial goes on. Tune asks before it calls the callbacks, and not after the last epoch."""
        trial_id = study_trial_id(trial)
        return str(self.STOP if self._add(trial_id, result) and self._judge.stops(trial_id) else self.CONTINUE)

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Count a trial's last epoch. Of a stopped trial it is known."""
        self._add(study_trial_id(trial), result)

    def _add(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        report = report_in(result)
        if report is None:
            return False
        first = self._judge.last_epoch(trial_id) + 1
        if first < report.epoch:
            for earlier in self._checkpoint_reports(trial_id):
                if first <= earlier.epoch < report.epoch:
                    self._judge.add(trial_id, earlier.columns())
        return self._judge.add(trial_id, report.columns())

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its scheduler; nothing ever reads that copy

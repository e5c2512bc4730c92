"""The scheduler that carries a study's stopping rule to Ray Tune: it stops trials, and starts them in order."""

from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from kd_sweep.driver.stopping.replay import Judge
from kd_sweep.driver.tune.tune_trial import TuneTrial, assignment_in, reports_in, study_trial_id, teacher_in
from kd_sweep.errors import StoppingRuleError


class RuleScheduler(FIFOScheduler):
    """Asks a rule after every epoch whether the trial goes on.

    Args:
        judge: decides; it knows the epochs of earlier runs.
    """

    def __init__(self, judge: Judge) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._judge = judge
        self._failure: StoppingRuleError | None = None

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        """Return whether the trial goes on. Tune asks before it calls the callbacks, and not after the last epoch."""
        if teacher_in(trial.config) is not None:
            return str(self.CONTINUE)
        trial_id = study_trial_id(trial)
        try:
            return str(self.STOP if self._add(trial, result) and self._judge.stops(trial_id) else self.CONTINUE)
        except StoppingRuleError as failure:  # which Tune would take for one of the trial
            self._failure = self._failure or failure
            return str(self.CONTINUE)

    def check(self) -> None:
        """Raise `StoppingRuleError` where the rule has failed."""
        if self._failure is not None:
            raise self._failure

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Count a trial's last epoch. Of a stopped trial it is known."""
        if teacher_in(trial.config) is None:
            self._add(trial, result)

    def _add(self, trial: TuneTrial, result: Mapping[str, Any]) -> bool:
        is_new = False
        seed = {"seed": assignment_in(trial.config).trial.seed}
        for report in reports_in(result):
            is_new = self._judge.add(study_trial_id(trial), report.columns() | seed)
        return is_new

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its scheduler; nothing ever reads that copy

"""The schedulers of a sweep for Ray Tune: they start trials in order, and stop those that a stopping rule ends."""

from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from kd_sweep.driver.stopping.replay import Judge
from kd_sweep.driver.tune.tune_trial import TuneTrial, assignment_in, reports_in, study_trial_id, teacher_in
from kd_sweep.errors import StoppingRuleError


class InOrder(FIFOScheduler):
    """Starts trials in order; one that is to be tried again comes last.

    Tune's own looks twice through all trials that ever were, some five times a trial.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._live: dict[str, Any] = {}

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Put a trial at the end."""
        self._live.pop(trial.trial_id, None)
        self._live[trial.trial_id] = trial

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the first trial that waits; None where none does."""
        for trial_id, trial in list(self._live.items()):
            if trial.status == trial.PENDING:
                return trial
            if trial.is_finished():
                del self._live[trial_id]
        return None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its scheduler; nothing ever reads that copy


class RuleScheduler(InOrder):
    """Asks a rule after every epoch whether the trial goes on.

    Args:
        judge: decides; it knows the epochs of earlier runs.
    """

    def __init__(self, judge: Judge) -> None:
        super().__init__()
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

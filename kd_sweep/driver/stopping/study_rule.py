"""The stopping rule that a study's scheduler stands for, and what is said where one of a plug-in fails."""

from dataclasses import dataclass

from kd_sweep.catalogue.plugins import RAISED, described
from kd_sweep.driver.stopping.history import History
from kd_sweep.driver.stopping.rule import StoppingRule
from kd_sweep.errors import StoppingRuleError
from kd_sweep.study.scheduler import Scheduler
from kd_sweep.study.space.dimensions import extremes
from kd_sweep.study.spec import StudySpec


def rule_of(spec: StudySpec) -> StoppingRule | None:
    """Return the rule, or None where every trial runs all its epochs.

    Raises:
        StoppingRuleError: a plug-in makes none.
    """
    longest = int(extremes(spec, "student.epochs")[1])
    entry = spec.scheduler.entry
    rule: StoppingRule | None = (
        entry.item(spec.scheduler, longest) if entry.is_built_in else _of_plugin(spec.scheduler, longest)
    )
    return rule


def _of_plugin(scheduler: Scheduler, longest: int) -> StoppingRule | None:
    try:
        rule = scheduler.entry.item(scheduler, longest)
    except RAISED as error:
        raise StoppingRuleError(f"scheduler.name: {scheduler.name!r} raised {described(error)}") from error
    if rule is not None and not callable(getattr(rule, "stops", None)):
        raise StoppingRuleError(
            f"scheduler.name: {scheduler.name!r} made a {type(rule).__name__}, which has no method "
            "stops(history, trial_id)"
        )
    return None if rule is None else _PluginRule(scheduler.name, rule)


@dataclass(frozen=True)
class _PluginRule:
    """A rule of a plug-in, whose mistakes are one line."""

    name: str
    rule: StoppingRule

    def stops(self, history: History, trial_id: str) -> bool:
        """Return whether the trial ends with its newest epoch; `StoppingRuleError` where the plug-in does not say."""
        try:
            decision = self.rule.stops(history, trial_id)
        except RAISED as error:
            raise StoppingRuleError(f"scheduler.name: {self.name!r} raised {described(error)}") from error
        if type(decision).__name__ not in ("bool", "bool_"):  # NumPy's counts too
            raise StoppingRuleError(
                f"scheduler.name: {self.name!r} returned a {type(decision).__name__}, not whether the trial stops"
            )
        return bool(decision)

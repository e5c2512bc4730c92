"""The stopping rule that a study's scheduler stands for."""

from kd_sweep.driver.stopping.asha import Asha
from kd_sweep.driver.stopping.hyperband import Hyperband, bracket_shares
from kd_sweep.driver.stopping.median import Median
from kd_sweep.driver.stopping.pareto_asha import ParetoAsha
from kd_sweep.driver.stopping.patience import Patience
from kd_sweep.driver.stopping.rule import StoppingRule
from kd_sweep.driver.stopping.rungs import rung_epochs
from kd_sweep.study.space.dimensions import extremes
from kd_sweep.study.spec import (
    AshaScheduler,
    HyperbandScheduler,
    MedianScheduler,
    NoScheduler,
    ParetoAshaScheduler,
    PatienceScheduler,
    StudySpec,
)


def rule_of(spec: StudySpec) -> StoppingRule | None:
    """Return the rule, or None where every trial runs all its epochs."""
    longest = int(extremes(spec, "student.epochs")[1])
    match spec.scheduler:
        case NoScheduler():
            return None
        case AshaScheduler(grace_period=grace_period, reduction_factor=factor):
            return Asha(rung_epochs(grace_period, factor, longest), factor)
        case MedianScheduler(grace_period=grace_period, min_trials=min_trials):
            return Median(grace_period, min_trials)
        case HyperbandScheduler() as scheduler:
            return _hyperband(scheduler, longest)
        case PatienceScheduler(grace_period=grace_period, patience=patience, min_delta=min_delta):
            return Patience(grace_period, patience, min_delta)
        case ParetoAshaScheduler(grace_period=grace_period, reduction_factor=factor):
            return ParetoAsha(rung_epochs(grace_period, factor, longest), factor)


def _hyperband(scheduler: HyperbandScheduler, longest: int) -> Hyperband:
    factor, most = scheduler.reduction_factor, scheduler.max_brackets(longest)
    num_brackets = scheduler.brackets or most
    rungs = rung_epochs(scheduler.grace_period, factor, longest)
    # The rungs of bracket s are those of bracket 0 without the first s.
    return Hyperband(
        tuple(rungs[index:] for index in range(num_brackets)), bracket_shares(num_brackets, most, factor), factor
    )

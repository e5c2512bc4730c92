"""The sampler `gp`: Bayesian optimisation with a Gaussian process."""

from typing import TYPE_CHECKING, Literal

from kd_sweep.study.adaptive_sampler import AdaptiveSampler
from kd_sweep.study.recipe import Count

if TYPE_CHECKING:
    from optuna.samplers import GPSampler

    from kd_sweep.driver.tune.optuna_samplers import Request


class GpSampler(AdaptiveSampler):
    """Optuna's Gaussian process with expected improvement; several objectives are allowed."""

    name: Literal["gp"]
    num_startup_trials: Count = 10
    """Random trials that have finished before the first modelled one."""


def optuna_sampler(settings: GpSampler, request: "Request") -> "GPSampler":
    """Return Optuna's sampler for one suggestion. It fits its model anew, and starts from no earlier fit."""
    from optuna.samplers import GPSampler

    return GPSampler(seed=request.seed, n_startup_trials=settings.num_startup_trials, warn_independent_sampling=False)

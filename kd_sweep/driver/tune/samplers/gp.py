"""The sampler `gp`: Bayesian optimisation with a Gaussian process."""

from typing import TYPE_CHECKING

from kd_sweep.catalogue.decorators import sampler
from kd_sweep.catalogue.parameters import Count, SamplerParameters

if TYPE_CHECKING:
    from optuna.samplers import GPSampler

    from kd_sweep.driver.tune.sampler_request import SamplerRequest


class GpParameters(SamplerParameters):
    """Of `gp`."""

    num_startup_trials: Count = 10
    """Random trials that have finished before the first modelled one."""


@sampler("gp", parameters=GpParameters)
def gp(parameters: GpParameters, request: "SamplerRequest") -> "GPSampler":
    """Return Optuna's sampler for one suggestion. It fits its model anew, and starts from no earlier fit."""
    from optuna.samplers import GPSampler

    return GPSampler(seed=request.seed, n_startup_trials=parameters.num_startup_trials, warn_independent_sampling=False)

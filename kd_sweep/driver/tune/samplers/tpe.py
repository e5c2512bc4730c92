"""The sampler `tpe`: the tree-structured Parzen estimator."""

from typing import TYPE_CHECKING

from kd_sweep.catalogue.decorators import sampler
from kd_sweep.catalogue.parameters import Count, SamplerParameters

if TYPE_CHECKING:
    from optuna.samplers import TPESampler

    from kd_sweep.driver.tune.sampler_request import SamplerRequest


class TpeParameters(SamplerParameters):
    """Of `tpe`."""

    num_startup_trials: Count = 10
    """Random trials before the first modelled one."""


@sampler("tpe", parameters=TpeParameters)
def tpe(parameters: TpeParameters, request: "SamplerRequest") -> "TPESampler":
    """Return Optuna's sampler for one suggestion; running trials count as bad ones, so that it keeps away from them."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=request.seed, n_startup_trials=parameters.num_startup_trials, constant_liar=True)

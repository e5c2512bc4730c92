"""The sampler `tpe`: the tree-structured Parzen estimator."""

from typing import TYPE_CHECKING, Literal

from kd_sweep.study.adaptive_sampler import AdaptiveSampler
from kd_sweep.study.recipe import Count

if TYPE_CHECKING:
    from optuna.samplers import TPESampler

    from kd_sweep.driver.tune.optuna_samplers import Request


class TpeSampler(AdaptiveSampler):
    """Optuna's tree-structured Parzen estimator; several objectives are allowed."""

    name: Literal["tpe"]
    num_startup_trials: Count = 10
    """Random trials before the first modelled one."""


def optuna_sampler(settings: TpeSampler, request: "Request") -> "TPESampler":
    """Return Optuna's sampler for one suggestion; running trials count as bad ones, so that it keeps away from them."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=request.seed, n_startup_trials=settings.num_startup_trials, constant_liar=True)

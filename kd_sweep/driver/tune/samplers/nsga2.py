"""The sampler `nsga2`: NSGA-II, a genetic search for a Pareto set."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from kd_sweep.study.adaptive_sampler import AdaptiveSampler
from kd_sweep.study.recipe import MAX_COUNT, Count

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from kd_sweep.driver.tune.optuna_samplers import Request


class Nsga2Sampler(AdaptiveSampler):
    """Optuna's NSGA-II, a genetic search for the Pareto set of several objectives."""

    name: Literal["nsga2"]
    num_trials: Count = 50
    population_size: int = Field(20, ge=2, le=MAX_COUNT)

    generations: ClassVar[str | None] = "GeneticSampler:generation"


def optuna_sampler(settings: Nsga2Sampler, request: "Request") -> "BaseSampler":
    """Return Optuna's sampler for one suggestion."""
    from kd_sweep.driver.tune.genetic_samplers import GeneticSampler

    return GeneticSampler(seed=request.seed, population_size=settings.population_size)

"""The sampler `nsga3`: NSGA-III, a genetic search for a Pareto set."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from kd_sweep.study.adaptive_sampler import AdaptiveSampler
from kd_sweep.study.recipe import MAX_COUNT, Count

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from kd_sweep.driver.tune.optuna_samplers import Request


class Nsga3Sampler(AdaptiveSampler):
    """Optuna's NSGA-III: as NSGA-II, but it spreads over three and more objectives by reference points."""

    name: Literal["nsga3"]
    num_trials: Count = 50
    population_size: int = Field(20, ge=2, le=MAX_COUNT)
    divisions: int = Field(3, ge=1, le=100)
    """Of each objective's axis between reference points: more of them are closer together."""

    generations: ClassVar[str | None] = "ReferencePointSampler:generation"


def optuna_sampler(settings: Nsga3Sampler, request: "Request") -> "BaseSampler":
    """Return Optuna's sampler for one suggestion."""
    from kd_sweep.driver.tune.genetic_samplers import ReferencePointSampler

    return ReferencePointSampler(request.seed, settings.population_size, settings.divisions, settings.seed)

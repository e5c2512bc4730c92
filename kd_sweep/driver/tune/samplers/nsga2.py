"""The sampler `nsga2`: NSGA-II, a genetic search for the Pareto set of several objectives."""

from typing import TYPE_CHECKING

from pydantic import Field

from kd_sweep.catalogue.decorators import sampler
from kd_sweep.catalogue.parameters import MAX_COUNT, Count, SamplerParameters

if TYPE_CHECKING:
    from optuna.samplers import NSGAIISampler

    from kd_sweep.driver.tune.sampler_request import SamplerRequest


class Nsga2Parameters(SamplerParameters):
    """Of `nsga2`."""

    num_trials: Count = 50
    population_size: int = Field(20, ge=2, le=MAX_COUNT)


@sampler("nsga2", parameters=Nsga2Parameters, generation_key="NSGAIISampler:generation")
def nsga2(parameters: Nsga2Parameters, request: "SamplerRequest") -> "NSGAIISampler":
    """Return Optuna's sampler for one suggestion."""
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=request.seed, population_size=parameters.population_size)

"""The sampler `nsga3`: NSGA-III, which spreads over three and more objectives by reference points."""

from typing import TYPE_CHECKING

from pydantic import Field

from kd_sweep.catalogue.decorators import sampler
from kd_sweep.catalogue.parameters import MAX_COUNT, Count, SamplerParameters

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from kd_sweep.driver.tune.sampler_request import SamplerRequest


class Nsga3Parameters(SamplerParameters):
    """Of `nsga3`."""

    num_trials: Count = 50
    population_size: int = Field(20, ge=2, le=MAX_COUNT)
    divisions: int = Field(3, ge=1, le=100)
    """Of each objective's axis between reference points: more of them are closer together."""


@sampler("nsga3", parameters=Nsga3Parameters, generation_key="ReferencePointSampler:generation")
def nsga3(parameters: Nsga3Parameters, request: "SamplerRequest") -> "BaseSampler":
    """Return a sampler for one suggestion whose parents are those of all suggestions of its generation."""
    from kd_sweep.driver.tune.reference_points import ReferencePointSampler

    return ReferencePointSampler(request.seed, parameters.population_size, parameters.divisions, parameters.seed)

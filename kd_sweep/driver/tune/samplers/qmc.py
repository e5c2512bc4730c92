"""The sampler `qmc`: a quasi-random sequence."""

from typing import TYPE_CHECKING, Literal

from kd_sweep.catalogue.decorators import sampler
from kd_sweep.catalogue.parameters import SamplerParameters

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from kd_sweep.driver.tune.sampler_request import SamplerRequest


class QmcParameters(SamplerParameters):
    """Of `qmc`."""

    sequence: Literal["sobol", "halton"] = "sobol"
    """Scrambled with the seed."""


@sampler("qmc", parameters=QmcParameters, learns=False)
def qmc(parameters: QmcParameters, request: "SamplerRequest") -> "BaseSampler":
    """Return a sampler whose suggestion is the point of its number in the sequence.

    They cover the space more evenly than random ones, whatever the results are. Optuna's own counts what it has
    suggested in its study, which is another one for each suggestion.
    """
    from scipy.stats import qmc as sequences

    from kd_sweep.driver.tune.unit_cube import UnitCubeSampler

    def point(_: object) -> list[float]:
        sequence = {"sobol": sequences.Sobol, "halton": sequences.Halton}[parameters.sequence]
        points = sequence(len(request.space), scramble=True, seed=parameters.seed)
        if request.number > 0:
            points.fast_forward(request.number)
        coordinates: list[float] = points.random(1)[0].tolist()
        return coordinates

    return UnitCubeSampler(request.space, point, request.seed)

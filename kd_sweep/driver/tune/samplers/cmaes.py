"""The sampler `cmaes`: an evolution strategy that adapts a covariance matrix."""

from typing import TYPE_CHECKING, Any

from pydantic import Field

from kd_sweep.catalogue.decorators import sampler
from kd_sweep.catalogue.parameters import MAX_COUNT, SamplerParameters

if TYPE_CHECKING:
    import numpy.typing as npt
    from optuna import Study
    from optuna.samplers import BaseSampler

    from kd_sweep.driver.tune.sampler_request import SamplerRequest
    from kd_sweep.driver.tune.unit_cube import Space

SIGMA = 1 / 6
"""The first standard deviation, as a share of each range: Optuna's."""
BEST_SHARE = 0.1
"""Of another study's trials, from whose distribution a warm start begins (arXiv 2012.06932)."""


class CmaesParameters(SamplerParameters):
    """Of `cmaes`."""

    population_size: int | None = Field(None, ge=4, le=MAX_COUNT)
    """Trials of a generation; 4 + 3 ln d, rounded down, for d dimensions when null."""


@sampler("cmaes", parameters=CmaesParameters, max_objectives=1, min_ranges=2, package="cmaes")
def cmaes(parameters: CmaesParameters, request: "SamplerRequest") -> "BaseSampler":
    """Return a sampler that replays the strategy on all completed trials, and asks it for one more.

    CMA-ES (arXiv 1604.00772), by the package that Optuna uses, for one objective. Optuna's own keeps the
    strategy in its trials, and a resume has to make it anew. Here a generation is so many completed trials in a row, so
    that the strategy is a function of them. Lists and conditional dimensions are drawn at random.
    """
    from optuna.distributions import CategoricalDistribution

    from kd_sweep.driver.tune.unit_cube import UnitCubeSampler

    space = {
        name: distribution
        for name, distribution in sorted(request.space.items())
        if not isinstance(distribution, CategoricalDistribution)
        and not distribution.single()
        and name not in request.conditional
    }
    return UnitCubeSampler(space, lambda study: _point(parameters, request, space, study), request.seed)


def _point(parameters: CmaesParameters, request: "SamplerRequest", space: "Space", study: "Study") -> list[float]:
    """Return what the strategy suggests after all completed trials of a study."""
    import numpy as np
    from cmaes import CMA, get_warm_start_mgd
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    from kd_sweep.driver.tune.optuna_samplers import WARM
    from kd_sweep.driver.tune.unit_cube import coordinate_of

    sign = 1 if study.direction == StudyDirection.MINIMIZE else -1
    own: list[tuple[npt.NDArray[np.float64], float]] = []
    others: list[tuple[npt.NDArray[np.float64], float]] = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        coordinates = np.array([coordinate_of(space[name], trial.params[name]) for name in space])
        (others if WARM in trial.user_attrs else own).append((coordinates, sign * trial.values[0]))
    begin: dict[str, Any] = {"mean": np.full(len(space), 0.5), "sigma": SIGMA}
    if others:
        share = min(1.0, max(BEST_SHARE, 1.001 / len(others)))  # at least one
        begin = dict(zip(("mean", "sigma", "cov"), get_warm_start_mgd(others, gamma=share), strict=True))
    bounds, seed = np.tile([0.0, 1.0], (len(space), 1)), request.seed % 2**31
    strategy = CMA(**begin, bounds=bounds, seed=seed, population_size=parameters.population_size)
    size = strategy.population_size
    for first in range(0, len(own) - size + 1, size):
        strategy.tell(own[first : first + size])
    point: list[float] = strategy.ask().tolist()
    return point

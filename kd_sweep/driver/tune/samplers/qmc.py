"""The sampler `qmc`: a quasi-random sequence."""

from typing import TYPE_CHECKING, ClassVar, Literal

from kd_sweep.study.adaptive_sampler import AdaptiveSampler

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

    from kd_sweep.driver.tune.optuna_samplers import Request


class QmcSampler(AdaptiveSampler):
    """Points that cover the space more evenly than random ones, whatever the results are."""

    name: Literal["qmc"]
    sequence: Literal["sobol", "halton"] = "sobol"
    """Scrambled with the seed."""

    learns: ClassVar[bool] = False


def optuna_sampler(settings: QmcSampler, request: "Request") -> "BaseSampler":
    """Return a sampler whose suggestion is the point of its number in the sequence.

    Optuna's own counts what it has suggested in its study, which a resume has not.
    """
    from scipy.stats import qmc

    from kd_sweep.driver.tune.unit_cube import UnitCubeSampler

    def point(_: object) -> list[float]:
        sequence = {"sobol": qmc.Sobol, "halton": qmc.Halton}[settings.sequence]
        points = sequence(len(request.space), scramble=True, seed=settings.seed)
        if request.number > 0:
            points.fast_forward(request.number)
        coordinates: list[float] = points.random(1)[0].tolist()
        return coordinates

    return UnitCubeSampler(request.space, point, request.seed)

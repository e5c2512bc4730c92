"""The sampler `random`: independent draws."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import SAMPLER
from kd_sweep.catalogue.parameters import SamplerParameters
from kd_sweep.catalogue.traits import SamplerTraits

if TYPE_CHECKING:
    from kd_sweep.study.space.conditions import Point
    from kd_sweep.study.spec import StudySpec

MAX_RARITY = 1_000_000
"""A point that fewer draws would be is not waited for."""


@register(SAMPLER, "random", parameters=SamplerParameters, traits=SamplerTraits(plans=True, learns=False))
def random(spec: "StudySpec") -> "Iterator[Point]":
    """Yield distinct points. Draw i depends on (seed, i) alone, so more of them extend a study."""
    from kd_sweep.study.space.conditions import Conditions
    from kd_sweep.study.space.points import distinct_trials, random_point
    from kd_sweep.study.space.repeats import repeats

    conditions = Conditions(spec)
    branches = list(conditions.branches())
    sizes, rarities = [branch.num_points for branch in branches], [branch.rarity for branch in branches]
    size = None if None in sizes else sum(size for size in sizes if size is not None)
    asked = spec.sampler.num_asked or 0
    wanted = asked if size is None else min(asked, size)
    # Draws repeat in a small space; its last point takes rarity * ln(size) of them, far fewer than this bound.
    rarest = wanted if size is None else min(max(filter(None, rarities), default=1), MAX_RARITY)
    draws = (random_point(spec, index, conditions) for index in range(1000 + 20 * max(wanted, rarest)))
    for trial in distinct_trials(spec, draws, wanted):
        yield from repeats(spec, trial.point)

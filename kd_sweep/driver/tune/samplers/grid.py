"""The sampler `grid`: every combination of the grids."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import SAMPLER
from kd_sweep.catalogue.traits import SamplerTraits

if TYPE_CHECKING:
    from kd_sweep.study.space.conditions import Point
    from kd_sweep.study.spec import StudySpec


@register(SAMPLER, "grid", traits=SamplerTraits(plans=True, learns=False))
def grid(spec: "StudySpec") -> "Iterator[Point]":
    """Return every point, in the order of the study's dimensions."""
    from kd_sweep.study.space.points import grid_points
    from kd_sweep.study.space.repeats import with_seeds

    return grid_points(with_seeds(spec))

"""The repeats of a point: the trials that differ in nothing but their seed, where a study has `seeds`."""

from collections.abc import Iterable, Mapping
from typing import Any

from kd_sweep.study.repeat_seeds import AdaptiveSeeds
from kd_sweep.study.space.conditions import Point
from kd_sweep.study.spec import Grid, StudySpec

SEED = "seed"


def seeds_of(spec: StudySpec) -> tuple[int, ...]:
    """Return the seeds that a point is run with, at most; none in a study without."""
    return spec.seeds.all if isinstance(spec.seeds, AdaptiveSeeds) else spec.seeds or ()


def adds_seeds(spec: StudySpec) -> bool:
    """Whether the number of seeds depends on what comes of them."""
    return isinstance(spec.seeds, AdaptiveSeeds)


def with_seeds(spec: StudySpec) -> StudySpec:
    """Return a study whose search has the seeds as its last dimension: its points are trials, one by one."""
    if spec.seeds is None:
        return spec
    return spec.model_copy(update={"search": {**spec.search, SEED: Grid(grid=seeds_of(spec))}, "seeds": None})


def seeds_in_words(spec: StudySpec) -> str | None:
    """Return which seeds a point is run with; None in a study without."""
    if isinstance(spec.seeds, AdaptiveSeeds):
        return f"{spec.seeds.min} to {spec.seeds.max} of them, from {spec.seeds.first}, until {spec.seeds.until}"
    return None if spec.seeds is None else ", ".join(map(str, spec.seeds))


def num_repeats(spec: StudySpec) -> int:
    """Return how many trials a point is, at most."""
    return len(seeds_of(spec)) or 1


def repeats(spec: StudySpec, point: Point) -> list[Point]:
    """Return a point with each of the study's seeds; as it is in a study without."""
    return [point] if spec.seeds is None else [{**point, SEED: seed} for seed in seeds_of(spec)]


def without_seed(spec: StudySpec, point: Mapping[str, Any]) -> Point:
    """Return the point of which this is a repeat."""
    return {name: value for name, value in point.items() if spec.seeds is None or name != SEED}


def num_missing(spec: StudySpec, points: Iterable[Point]) -> tuple[int, int]:
    """Return how many points these repeats are of, and how many repeats of those are not among them."""
    present = list(points)
    distinct = {tuple(without_seed(spec, point).items()) for point in present}
    return len(distinct), len(distinct) * num_repeats(spec) - len(present)

"""The repeats of a point: the trials that differ in nothing but their seed, where a study has `seeds`."""

from collections.abc import Iterable, Mapping
from typing import Any

from kd_sweep.study.space.conditions import Point
from kd_sweep.study.spec import Grid, StudySpec

SEED = "seed"


def with_seeds(spec: StudySpec) -> StudySpec:
    """Return a study whose search has the seeds as its last dimension: its points are trials, one by one."""
    if spec.seeds is None:
        return spec
    return spec.model_copy(update={"search": {**spec.search, SEED: Grid(grid=spec.seeds)}, "seeds": None})


def num_repeats(spec: StudySpec) -> int:
    """Return how many trials a point is."""
    return 1 if spec.seeds is None else len(spec.seeds)


def repeats(spec: StudySpec, point: Point) -> list[Point]:
    """Return a point with each of the study's seeds; as it is in a study without."""
    return [point] if spec.seeds is None else [{**point, SEED: seed} for seed in spec.seeds]


def without_seed(spec: StudySpec, point: Mapping[str, Any]) -> Point:
    """Return the point of which this is a repeat."""
    return {name: value for name, value in point.items() if spec.seeds is None or name != SEED}


def num_missing(spec: StudySpec, points: Iterable[Point]) -> tuple[int, int]:
    """Return how many points these repeats are of, and how many repeats of those are not among them."""
    present = list(points)
    distinct = {tuple(without_seed(spec, point).items()) for point in present}
    return len(distinct), len(distinct) * num_repeats(spec) - len(present)

"""One dimension of a search space: which values it has, how many, and which of them a draw stands for."""

import math

from kd_sweep.study.fields import search_field
from kd_sweep.study.spec import Choice, Dimension, Grid, IntRange, StudySpec, Uniform, Value
from kd_sweep.study.trial import TrialConfig


def dimension_size(dimension: Dimension) -> int | None:
    """Return how many values a dimension has; None where it is continuous."""
    match dimension:
        case Grid(grid=values) | Choice(choice=values):
            return len(values)
        case IntRange(bounds=(low, high), step=step):
            return (high - low) // step + 1
        case Uniform(uniform=(low, high), step=float(step)):
            # The tolerance keeps 1.0 in [0, 1] by steps of 0.1, whose floating-point ratio may fall just short of 10.
            return math.floor((high - low) / step * (1 + 1e-9)) + 1
        case _:
            return None


def dimension_values(name: str, dimension: Dimension) -> list[Value] | None:
    """Return every value of a dimension in canonical form; None where it is continuous."""
    field = search_field(name)
    if isinstance(dimension, Grid | Choice):
        return [field.canonical(value) for value in listed_values(dimension)]
    size = dimension_size(dimension)
    return None if size is None else [field.canonical(_at(dimension, place)) for place in range(size)]


def drawn_value(name: str, dimension: Dimension, fraction: float) -> Value:
    """Return the value that a ``fraction`` in [0, 1), drawn uniformly, stands for."""
    field = search_field(name)
    size = dimension_size(dimension)
    if isinstance(dimension, Grid | Choice):
        values = listed_values(dimension)
        return field.canonical(values[int(fraction * len(values))])
    if size is not None:
        return field.canonical(_at(dimension, int(fraction * size)))
    low, high = range_bounds(dimension)
    if isinstance(dimension, Uniform) and dimension.log:
        return field.canonical(min(max(math.exp(math.log(low) + fraction * math.log(high / low)), low), high))
    return field.canonical(min(low + fraction * (high - low), high))


def listed_values(dimension: Grid | Choice) -> tuple[Value, ...]:
    """Return the values of a `grid` or `choice`, as written."""
    return dimension.grid if isinstance(dimension, Grid) else dimension.choice


def range_bounds(dimension: Dimension) -> tuple[float, float]:
    """Return the lowest and highest number of a `uniform` or `int` range, both included."""
    if isinstance(dimension, Uniform):
        return dimension.uniform
    if isinstance(dimension, IntRange):
        return dimension.bounds
    raise TypeError(f"{dimension} has no bounds")


def extremes(spec: StudySpec, name: str) -> tuple[float, float]:
    """Return the smallest and largest value that trials of ``spec`` can have in the numeric field ``name``."""
    if name == "ensemble_size" and (ensembles := searched_ensembles(spec)):
        return min(map(len, ensembles)), max(map(len, ensembles))
    dimension = spec.search.get(name)
    if isinstance(dimension, Grid | Choice):
        numbers = [value for value in listed_values(dimension) if isinstance(value, int | float)]
        return min(numbers), max(numbers)
    if dimension is not None:
        return range_bounds(dimension)
    section, _, key = name.rpartition(".")
    value = getattr(getattr(spec, section), key) if section else TrialConfig.model_fields[name].default
    return value, value


def searched_ensembles(spec: StudySpec) -> list[tuple[float, ...]]:
    """Return the values of `search.teacher_strengths` in canonical form; empty where that is not searched."""
    dimension = spec.search.get("teacher_strengths")
    values = (dimension_values("teacher_strengths", dimension) if dimension is not None else None) or []
    return [tuple(float(strength) for strength in value) for value in values]  # type: ignore[union-attr, arg-type]


def _at(dimension: Dimension, place: int) -> float:
    low, high = range_bounds(dimension)
    step = dimension.step if isinstance(dimension, Uniform | IntRange) else None
    return min(low + place * (step or 1), high)

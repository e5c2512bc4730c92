"""One dimension of a search space: which values it has, how many, and which of them a draw stands for."""

import math
from collections.abc import Iterable
from typing import Any

from kd_sweep.study.space.members import MODELS, entry_field
from kd_sweep.study.space.searchable_fields import search_field
from kd_sweep.study.space.settings import SearchSettings
from kd_sweep.study.spec import Choice, Dimension, Grid, IntRange, StudySpec, Uniform, Value


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
    size = dimension_size(dimension)
    return None if size is None else [value_at(name, dimension, index) for index in range(size)]


def value_at(name: str, dimension: Dimension, index: int) -> Value:
    """Return the value at an index, from 0, of a dimension that is not continuous, in canonical form."""
    return search_field(name).canonical(_value_at(dimension, index))


def index_of(name: str, dimension: Dimension, value: Value) -> int | None:
    """Return the index of a value in canonical form, at which `value_at` returns it; None where it has none."""
    size = dimension_size(dimension)
    if isinstance(dimension, Grid | Choice):
        indices: Iterable[int] = range(len(listed_values(dimension)))
    elif size is None or not _is_number(value):
        return None
    else:
        index = round((value - range_bounds(dimension)[0]) / _step(dimension))  # type: ignore[operator]
        indices = [index] if 0 <= index < size else []
    field = search_field(name)
    values = ((index, field.canonical(_value_at(dimension, index))) for index in indices)
    return next((index for index, other in values if other == value and type(other) is type(value)), None)


def holds(name: str, dimension: Dimension, value: Value) -> bool:
    """Return whether ``value``, in canonical form, is one of the dimension's."""
    if dimension_size(dimension) is not None:
        return index_of(name, dimension, value) is not None
    low, high = (search_field(name).canonical(bound) for bound in range_bounds(dimension))  # rounded as the value was
    return _is_number(value) and low <= value <= high  # type: ignore[operator]


def drawn_value(name: str, dimension: Dimension, fraction: float) -> Value:
    """Return the value that a ``fraction`` in [0, 1), drawn uniformly, stands for."""
    field = search_field(name)
    size = dimension_size(dimension)
    if size is not None:
        return value_at(name, dimension, int(fraction * size))
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
    if name == "ensemble_size" and (sizes := searched_sizes(spec)):
        return min(sizes), max(sizes)
    dimension = spec.search.get(name)
    if dimension is None:
        value = fixed_value(spec, name)
        return value, value
    values = listed_values(dimension) if isinstance(dimension, Grid | Choice) else range_bounds(dimension)
    without = [fixed_value(spec, name)] if dimension.when else []
    numbers = [value for value in (*values, *without) if isinstance(value, int | float)]
    return min(numbers), max(numbers)


def fixed_value(spec: StudySpec, name: str) -> Any:
    """Return the value of a field that ``spec`` does not search; None for a parameter that its section has not."""
    if (field := entry_field(name)) is not None:
        return getattr(spec.teachers[field.entry].learner, field.key, None)
    section, _, key = name.rpartition(".")
    return getattr(getattr(spec, section), key, None) if section else default_settings(spec)[name]


def default_settings(spec: StudySpec) -> dict[str, Any]:
    """Return what a trial has of the fields of no section, where they are not searched."""
    defaults = {name: field.default for name, field in SearchSettings.model_fields.items()}
    return defaults | ({"ensemble_size": len(spec.teachers)} if spec.teachers else {})


def possible_values(spec: StudySpec, name: str) -> tuple[Any, ...]:
    """Return the values that trials of ``spec`` can have in a field that no range can give: text, say."""
    dimension = spec.search.get(name)
    return listed_values(dimension) if isinstance(dimension, Grid | Choice) else (fixed_value(spec, name),)


def searched_ensembles(spec: StudySpec) -> list[tuple[float, ...]]:
    """Return the ensembles of `search.teacher_strengths` in canonical form; empty where that is not searched."""
    dimension = spec.search.get("teacher_strengths")
    if dimension is None:
        return []
    values = dimension_values("teacher_strengths", dimension) or []
    without = [(SearchSettings().augmentation_strength,)] if dimension.when else []
    searched = [tuple(float(strength) for strength in value) for value in values]  # type: ignore[union-attr, arg-type]
    return [*searched, *without]


def searched_models(spec: StudySpec) -> list[tuple[str, ...]]:
    """Return the ensembles of `search.teacher_models` in canonical form; empty where that is not searched."""
    dimension = spec.search.get(MODELS)
    values: Any = () if dimension is None else dimension_values(MODELS, dimension)
    return list(values)


def searched_sizes(spec: StudySpec) -> list[int]:
    """Return the sizes of the ensembles that a search lists one by one; empty where it lists none."""
    return [len(ensemble) for ensemble in (*searched_ensembles(spec), *searched_models(spec))]


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value_at(dimension: Dimension, index: int) -> Value:
    if isinstance(dimension, Grid | Choice):
        return listed_values(dimension)[index]
    low, high = range_bounds(dimension)
    return min(low + index * _step(dimension), high)


def _step(dimension: Dimension) -> float:
    step = dimension.step if isinstance(dimension, Uniform | IntRange) else None
    return step or 1

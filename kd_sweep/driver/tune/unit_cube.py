"""Points of the unit cube as values of dimensions, and Optuna's sampler of a function that returns such points."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

Space = Mapping[str, BaseDistribution]
Params = dict[str, Any]


class UnitCubeSampler(BaseSampler):
    """Gives the values of some dimensions together; the others are drawn at random.

    Args:
        space: the dimensions whose values are given. A dimension that is absent from a trial is left out there.
        point: returns a coordinate in [0, 1] for each of them, from the study so far.
        seed: of the random draws.
    """

    def __init__(self, space: Space, point: Callable[[optuna.Study], Sequence[float]], seed: int) -> None:
        self._space = dict(space)
        self._point = point
        self._random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the dimensions whose values are given together."""
        return self._space

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Space) -> Params:
        """Return their values."""
        named = zip(self._space.items(), self._point(study) if self._space else (), strict=True)
        return {name: value_at(distribution, float(coordinate)) for (name, distribution), coordinate in named}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Return the value of any other dimension."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)


def value_at(distribution: BaseDistribution, coordinate: float) -> Any:
    """Return the value that a coordinate in [0, 1] stands for."""
    if isinstance(distribution, FloatDistribution):
        low, high = distribution.low, distribution.high
        if distribution.log:
            return min(max(math.exp(math.log(low) + coordinate * math.log(high / low)), low), high)
        return min(max(low + coordinate * (high - low), low), high)
    if isinstance(distribution, IntDistribution):
        size = distribution.high - distribution.low + 1
        return distribution.low + min(int(coordinate * size), size - 1)
    assert isinstance(distribution, CategoricalDistribution)
    return distribution.choices[min(int(coordinate * len(distribution.choices)), len(distribution.choices) - 1)]


def coordinate_of(distribution: BaseDistribution, value: float) -> float:
    """Return the coordinate of a value of a number's dimension, the middle of those that stand for it."""
    if isinstance(distribution, FloatDistribution):
        low, high = distribution.low, distribution.high
        return math.log(value / low) / math.log(high / low) if distribution.log else (value - low) / (high - low)
    assert isinstance(distribution, IntDistribution)
    return (value - distribution.low + 0.5) / (distribution.high - distribution.low + 1)

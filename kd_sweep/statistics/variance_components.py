"""Variance components of a balanced crossed design: how much each of several random factors moves an outcome.

The model is y = mean + a sum of independent random effects, one of each factor, + the rest, with one value in each
cell; the estimates are those of the analysis of variance (Searle, Casella and McCulloch, *Variance Components*, 1992,
chapter 4): unbiased whatever the distribution, and below 0 where a factor moves less than the rest does by chance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc, gammaincinv  # scipy.stats takes 46 MB


@dataclass(frozen=True)
class Component:
    """What one factor, or the rest, contributes to the variance of a single value."""

    variance: float
    """Unbiased, so it can be below 0."""
    degrees: int
    low: float | None
    """Chi-squared interval, where there is one factor alone; None of several."""
    high: float | None
    p: float | None
    """Of the F test that the factor contributes nothing; None of one factor alone, and of the rest."""


def variance_components(values: NDArray[np.float64], confidence: float) -> list[Component]:
    """Return the component of each axis of ``values``, and last that of the rest where there are several axes.

    Args:
        values: one value in each cell, an axis for each factor, each at least 2 long.
        confidence: of intervals.

    Raises:
        ValueError: a factor has a single level.
    """
    if min(values.shape, default=0) < 2:
        raise ValueError(f"a factor of shape {values.shape} has fewer than two levels")
    grand, axes = values.mean(), range(values.ndim)
    degrees = [length - 1 for length in values.shape]
    others = [values.size // length for length in values.shape]
    means = [values.mean(axis=tuple(axis for axis in axes if axis != own)) for own in axes]
    sums = [other * float(((mean - grand) ** 2).sum()) for other, mean in zip(others, means, strict=True)]
    if values.ndim == 1:
        variance = sums[0] / degrees[0]
        tail = (1 - confidence) / 2
        low, high = (degrees[0] * variance / (2 * gammaincinv(degrees[0] / 2, one)) for one in (1 - tail, tail))
        return [Component(variance, degrees[0], float(low), float(high), None)]
    rest_degrees = values.size - 1 - sum(degrees)
    rest = (float(((values - grand) ** 2).sum()) - sum(sums)) / rest_degrees
    components = []
    for total, degree, other in zip(sums, degrees, others, strict=True):
        square = total / degree
        p = float(fdtrc(degree, rest_degrees, square / rest)) if rest > 0 else None
        components.append(Component((square - rest) / other, degree, None, None, p))
    return [*components, Component(rest, rest_degrees, None, None, None)]

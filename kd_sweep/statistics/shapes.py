"""The shape of an outcome along all levels: trend, curvature, each level against the lowest, the best level.

Shape suffixes: S seeds, K levels.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kd_sweep.statistics.intervals import (
    MIN_CLUSTERS,
    Bootstrap,
    Estimate,
    Floats,
    Interval,
    half_width,
    spread,
    t_quantile,
    t_statistic,
)
from kd_sweep.statistics.resolution import ROUNDING
from kd_sweep.statistics.significance import PValue, holm, skewed_p

_STEP = np.array([-1.0, 1.0])


@dataclass(frozen=True)
class Contrast:
    """A number of every seed, such as a difference of two levels, tested against a value."""

    estimate: Estimate
    t: float | None
    """None below `MIN_CLUSTERS` seeds and where seeds do not differ at all."""

    def p(self, by: PValue) -> float | None:
        """Return the two-sided p value of the t statistic."""
        return None if self.t is None else by(self.t, self.estimate.num_clusters)


@dataclass(frozen=True)
class Level:
    """One level against the lowest."""

    level: float
    estimate: Estimate
    interval: Interval | None
    """Student's t, all levels together: in 95 % of studies none of them is wrong (Bonferroni)."""
    p: float | None
    """Of `skewed_p`, corrected for the number of levels (Holm)."""


def mean_contrast(values_S: Floats, bootstrap: Bootstrap, *, border: float = 0.0, noise: float = 0.0) -> Contrast:
    """Return the test of one number per seed against ``border``; ``noise`` is the least standard deviation of it."""
    estimate = bootstrap.estimate(values_S, noise)
    return Contrast(estimate, t_statistic(estimate.value - border, estimate.std, estimate.num_clusters))


def contrast_of(values_SK: Floats, contrast_K: Floats, bootstrap: Bootstrap, step: float) -> Contrast:
    """Return the test of a contrast of levels; ``step`` is the resolution of the outcome."""
    return mean_contrast(values_SK @ contrast_K, bootstrap, noise=least_std(contrast_K, step))


def least_std(contrast_K: Floats, step: float) -> float:
    """Return the standard deviation that rounding each value to a multiple of ``step`` leaves in a contrast."""
    return step * ROUNDING * float(np.sqrt(contrast_K @ contrast_K))


def ends(levels_K: Floats) -> Floats:
    """Return the contrast that is the highest level less the lowest."""
    contrast_K = np.zeros(len(levels_K))
    contrast_K[0], contrast_K[-1] = -1.0, 1.0
    return contrast_K


def trend(levels_K: Floats) -> Floats:
    """Return the contrast that is the change from lowest to highest level along the straight line of least squares."""
    centred_K = levels_K - levels_K.mean()
    return np.asarray(centred_K / (centred_K @ centred_K) * (levels_K[-1] - levels_K[0]))


def line_ends(levels_K: Floats) -> tuple[Floats, Floats]:
    """Return the contrasts that are the straight line of least squares at the lowest and at the highest level."""
    mean_K = np.full(len(levels_K), 1.0 / len(levels_K))
    span = levels_K[-1] - levels_K[0]
    first, last = ((end - levels_K.mean()) / span for end in (levels_K[0], levels_K[-1]))
    return mean_K + first * trend(levels_K), mean_K + last * trend(levels_K)


def curvature(levels_K: Floats) -> Floats:
    """Return the contrast that is the height of the parabola of least squares over its chord, halfway between the ends.

    Above zero for a hump, below for a valley. Three levels or more.
    """
    spread = levels_K[-1] - levels_K[0]
    places_K = (levels_K - levels_K.mean()) / spread
    # The last row of the pseudoinverse gives the square's coefficient a; the parabola's height over a chord is -a / 4.
    return np.asarray(-np.linalg.pinv(np.vander(places_K, 3))[0] / 4.0)


def against_lowest(values_SK: Floats, levels_K: Floats, bootstrap: Bootstrap, step: float) -> list[Level]:
    """Return each higher level against the lowest, corrected for how many there are."""
    least = least_std(_STEP, step)
    estimates = [bootstrap.estimate(values_SK[:, k] - values_SK[:, 0], least) for k in range(1, len(levels_K))]
    ts = [t_statistic(estimate.value, estimate.std, estimate.num_clusters) for estimate in estimates]
    ps = [None if t is None else skewed_p(t, len(values_SK)) for t in ts]
    corrected = iter(holm([p for p in ps if p is not None]))
    confidence = 1.0 - (1.0 - bootstrap.confidence) / len(estimates)
    return [
        Level(float(level), estimate, _simultaneous(estimate, confidence), None if p is None else next(corrected))
        for level, estimate, p in zip(levels_K[1:], estimates, ps, strict=True)
    ]


def extreme_levels(
    values_SK: Floats, levels_K: Floats, side: Literal[-1, 1], confidence: float, step: float
) -> tuple[float, Interval | None]:
    """Return the level with the greatest mean (the least, for side -1), and the range that the true one lies in.

    A level is in the range unless another is farther out by a one-sided t test at (1 - confidence) / (K - 1): so the
    level that is truly the extreme is left out of it in no more than 5 % of studies (Hsu, Multiple Comparisons, 1996).
    Levels between two of the range are in it too. None below `MIN_CLUSTERS` seeds.
    """
    outward_SK = side * values_SK
    num_seeds, num_levels = outward_SK.shape
    extreme = float(levels_K[outward_SK.mean(0).argmax()])
    if num_seeds < MIN_CLUSTERS:
        return extreme, None
    border = -t_quantile(num_seeds, 1.0 - 2.0 * (1.0 - confidence) / (num_levels - 1))
    inside = [extreme]
    for k in range(num_levels):
        others_SO = np.delete(outward_SK, k, axis=1)
        if all(_t(outward_SK[:, k] - values_S, step) > border for values_S in others_SO.T):
            inside.append(float(levels_K[k]))
    return extreme, Interval(min(inside), max(inside))


def _t(values_S: Floats, step: float) -> float:
    """Return the t statistic of differences of two levels; infinite where all seeds have the same one."""
    mean, std = float(values_S.mean()), spread(values_S, least_std(_STEP, step))
    t = t_statistic(mean, std, len(values_S))
    return math.copysign(math.inf, mean) if t is None else t


def _simultaneous(estimate: Estimate, confidence: float) -> Interval | None:
    if estimate.t_interval is None or not estimate.std:
        return None
    half = half_width(estimate.std, estimate.num_clusters, confidence)
    return Interval(estimate.value - half, estimate.value + half)

"""The links of a chain: how two outcomes go together where nothing else varies, and how much one carries of an effect.

Shape suffixes: S seeds, C settings, R draws.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from kd_sweep.statistics.intervals import MIN_CLUSTERS, Estimate, Floats, Interval, half_width, t_statistic
from kd_sweep.statistics.resolution import ROUNDING

_SEED = 2405
_DRAWS = 20_000
_NO_SPREAD = 1e-12
_MIN_FREEDOM = 3
"""Degrees of freedom that settings and seeds have to leave. With two settings of three seeds one seed can be all there
is to a slope, and t would be too large one and a half times as often as it says."""


@dataclass(frozen=True)
class Association:
    """How an outcome goes with another among trials of one setting and one seed."""

    slope: Estimate
    """Change of the outcome per unit of the other. Its `std` is that of a mean with the slope's standard error."""
    t: float | None
    """None below `MIN_CLUSTERS` seeds, for two settings of three seeds, and where seeds do not differ at all."""
    correlation: float
    """Pearson's, of what settings and seeds leave of both."""
    scale: float
    """Standard deviation of what they leave of the outcome, over that of the other."""


@dataclass(frozen=True)
class Carried:
    """How much of an effect on an outcome goes with the effect on another, its mediator."""

    value: float
    """Effect on the mediator times the slope: what the outcome would change by through it alone."""
    interval: Interval | None
    share: float | None
    """Of the whole effect; None where that may be nothing."""
    share_interval: Interval | None


def association(x_SC: Floats, y_SC: Floats, confidence: float, step: float) -> Association | None:
    """Return the slope of y on x within settings and seeds, None where x does not vary there.

    Least squares with a level of its own for every seed and every setting: what is left of either is the value less its
    seed's mean, less its setting's, plus the mean of all. Whatever differs between settings, or between seeds, moves
    neither. The standard error leaves out each seed in turn (jackknife), so that trials of one seed may depend on each
    other; seeds left out change a setting's mean too, hence the factor S / (S - 1).

    Args:
        x_SC: one outcome, of every seed in every setting.
        y_SC: the other.
        confidence: of the interval, Student's t with S - 1 degrees of freedom.
        step: the resolution of y; the standard error is not below what rounding to it leaves.
    """
    num_seeds = len(x_SC)
    left_x_SC, left_y_SC = _left(x_SC), _left(y_SC)
    xx_S, xy_S = (left_x_SC**2).sum(1), (left_x_SC * left_y_SC).sum(1)
    xx, yy = float(xx_S.sum()), float((left_y_SC**2).sum())
    if xx <= (_NO_SPREAD * float(np.abs(x_SC).max())) ** 2 * x_SC.size:
        return None
    if yy <= (_NO_SPREAD * float(np.abs(y_SC).max())) ** 2 * y_SC.size:
        return Association(Estimate(0.0, num_seeds, None, None, None), None, 0.0, 0.0)
    value = float(xy_S.sum()) / xx
    correlation = value * math.sqrt(xx / yy)
    is_enough = num_seeds >= MIN_CLUSTERS and (num_seeds - 1) * (x_SC.shape[1] - 1) >= _MIN_FREEDOM
    error = max(_jackknife_error(xx_S, xy_S), step * ROUNDING / math.sqrt(xx)) if is_enough else 0.0
    if not math.isfinite(error) or error <= _NO_SPREAD * abs(value):
        return Association(Estimate(value, num_seeds, None, None, None), None, correlation, math.sqrt(yy / xx))
    std = error * math.sqrt(num_seeds)
    half = half_width(std, num_seeds, confidence)
    estimate = Estimate(value, num_seeds, std, None, Interval(value - half, value + half))
    return Association(estimate, t_statistic(value, std, num_seeds), correlation, math.sqrt(yy / xx))


def carried(on_mediator_S: Floats, whole_S: Floats, link: Association, confidence: float) -> Carried:
    """Return how much of an effect goes with the effect on a mediator: the product of coefficients.

    In balanced data it is the whole effect less the one that is left where the mediator is held (VanderWeele,
    Explanation in Causal Inference, 2015, section 2.3). The interval is that of draws from what is known of the three
    (MacKinnon, Lockwood and Williams, Multivariate Behav. Res. 39, 2004), with Student's t for few seeds: effect on the
    mediator and whole effect together, the slope on its own, since it is of what settings leave.

    Args:
        on_mediator_S: effect on the mediator, of every seed.
        whole_S: effect on the outcome, of every seed.
        link: `association` of outcome and mediator.
        confidence: of the intervals.
    """
    num_seeds = len(whole_S)
    means_2 = np.array([on_mediator_S.mean(), whole_S.mean()])
    value = float(means_2[0]) * link.slope.value
    if link.slope.std is None or num_seeds < MIN_CLUSTERS:
        return Carried(value, None, None, None)
    effects_R2, slopes_R = _draws(num_seeds)
    covariance_22 = np.cov(np.stack([on_mediator_S, whole_S])) / num_seeds
    effects_R2 = means_2 + effects_R2 @ _root(covariance_22).T
    slopes_R = link.slope.value + link.slope.std / math.sqrt(num_seeds) * slopes_R
    carried_R = effects_R2[:, 0] * slopes_R
    interval = _central(carried_R, confidence)
    half = half_width(float(whole_S.std(ddof=1)), num_seeds, confidence)
    if abs(means_2[1]) <= half:
        return Carried(value, interval, None, None)
    return Carried(value, interval, value / float(means_2[1]), _central(carried_R / effects_R2[:, 1], confidence))


def correlation_to_reach(link: Association, half: float) -> float:
    """Return how strongly a hidden cause would have to make errors of mediator and outcome correlate for the slope to
    come within ``half`` of nothing: for 0, the correlation at which nothing would be carried.

    It is the sensitivity parameter ρ of Imai, Keele and Yamamoto (Statist. Sci. 25, 2010, section 5): with r the
    correlation of what is left of both and s the ratio of their spreads, the slope at ρ is
    s (r - ρ √((1 - r²) / (1 - ρ²))).
    """
    r = link.correlation
    if not link.scale or abs(r) >= 1.0:
        return r
    distance = abs(r) - half / link.scale
    if distance <= 0.0:
        return 0.0
    odds = distance / math.sqrt(1.0 - r**2)
    return math.copysign(odds / math.sqrt(1.0 + odds**2), r)


def _left(values_SC: Floats) -> Floats:
    """Return what the levels of seeds and of settings leave."""
    return np.asarray(
        values_SC - values_SC.mean(1, keepdims=True) - values_SC.mean(0, keepdims=True) + values_SC.mean()
    )


def _jackknife_error(xx_S: Floats, xy_S: Floats) -> float:
    """Return the standard error of the slope from the slopes without each seed; infinite where one has none."""
    num_seeds = len(xx_S)
    without_S = xx_S.sum() - xx_S * num_seeds / (num_seeds - 1)
    if (without_S <= _NO_SPREAD * xx_S.sum()).any():
        return math.inf
    slopes_S = (xy_S.sum() - xy_S * num_seeds / (num_seeds - 1)) / without_S
    return math.sqrt((num_seeds - 1) * float(slopes_S.var()))


def _root(covariance_22: Floats) -> Floats:
    """Return a matrix whose square is the covariance, which may be of rank 1."""
    values_2, vectors_22 = np.linalg.eigh(covariance_22)
    return np.asarray(vectors_22 * np.sqrt(np.maximum(values_2, 0.0)))


def _central(values_R: Floats, confidence: float) -> Interval:
    low, high = np.quantile(values_R, [(1.0 - confidence) / 2, (1.0 + confidence) / 2])
    return Interval(float(low), float(high))


@lru_cache(maxsize=16)
def _draws(num_seeds: int) -> tuple[Floats, Floats]:
    """Return draws of Student's t with S - 1 degrees of freedom: of two effects that share a spread, R2; of a slope."""
    generator = np.random.default_rng([_SEED, num_seeds])
    freedom = num_seeds - 1
    spread_R = np.sqrt(freedom / generator.chisquare(freedom, size=_DRAWS))
    return generator.standard_normal((_DRAWS, 2)) * spread_R[:, None], generator.standard_t(freedom, size=_DRAWS)

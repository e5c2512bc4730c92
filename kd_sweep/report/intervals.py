"""Estimates over seeds with bootstrap and t intervals, and rank correlation with seeds resampled whole.

Shape suffixes: S clusters (seeds), N observations, R resamples, G groups of tied values.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtrit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MIN_CLUSTERS = 3
"""With fewer seeds an interval would be pretence."""
MAX_SEEDS = 1000
"""Where `seeds_to_decide` stops counting."""
MIN_RESAMPLES = 999

_SEED = 2405
_MAX_CELLS = 5_000_000
_MAX_CHUNK_CELLS = 500_000
_MAX_CACHED_CELLS = 1_000_000
_MAX_UNDEFINED = 0.05


@dataclass(frozen=True)
class Interval:
    """Two ends, both included."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds. Intervals are None below `MIN_CLUSTERS` seeds, `std` below two."""

    value: float
    num_clusters: int
    std: float | None
    """Sample standard deviation between seeds."""
    interval: Interval | None
    """Of the bootstrap."""
    t_interval: Interval | None
    """Of Student's t, which assumes normal values but does not become too narrow with three or four seeds."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are taken. The same data give the same interval, whatever was asked before."""

    confidence: float = 0.95
    resamples: int = 10_000
    """Fewer are drawn where clusters times resamples would exceed five million, but never under 999."""

    def estimate(self, values_S: Floats) -> Estimate:
        """Return the mean of one value per seed, with its intervals.

        The bootstrap interval is the expanded percentile interval (Hesterberg, The American Statistician 69, 2015):
        percentiles of the resampled means at the levels at which a normal sample of this size would get the width of
        its t interval. The plain percentile interval is too narrow by a factor of about sqrt((S - 1) / S) and more.

        Args:
            values_S: at least one finite value.
        """
        num_clusters = len(values_S)
        mean = float(values_S.mean())
        std = float(values_S.std(ddof=1)) if num_clusters > 1 else None
        if std is None or num_clusters < MIN_CLUSTERS:
            return Estimate(mean, num_clusters, std, None, None)
        means_R = np.concatenate([counts_RS @ values_S for counts_RS in self.counts(num_clusters)]) / num_clusters
        half = half_width(std, num_clusters, self.confidence)
        return Estimate(
            mean, num_clusters, std, self.interval(means_R, num_clusters), Interval(mean - half, mean + half)
        )

    def spearman(self, x_N: Floats, y_N: Floats, clusters_N: Ints) -> tuple[float | None, Interval | None]:
        """Return Spearman's rank correlation and its bootstrap interval, clusters resampled whole.

        Args:
            x_N: one variable.
            y_N: the other.
            clusters_N: which cluster (0 … S-1, each at least once) an observation belongs to.

        Returns:
            The correlation, None where a variable is constant; the interval, None below `MIN_CLUSTERS` clusters or
            where more than a twentieth of the resamples have a constant variable.
        """
        rho = weighted_spearman(x_N, y_N, np.ones((1, len(x_N))))[0]
        num_clusters = int(clusters_N.max()) + 1
        if math.isnan(rho):
            return None, None
        if num_clusters < MIN_CLUSTERS:
            return float(rho), None
        chunks = self.counts(num_clusters, len(x_N))
        rhos_R = np.concatenate([weighted_spearman(x_N, y_N, counts_RS[:, clusters_N]) for counts_RS in chunks])
        defined_R = rhos_R[~np.isnan(rhos_R)]
        if len(defined_R) < (1 - _MAX_UNDEFINED) * len(rhos_R):
            return float(rho), None
        return float(rho), self.interval(defined_R, num_clusters)

    def interval(self, statistics_R: Floats, num_clusters: int) -> Interval:
        """Return the expanded percentile interval of resampled statistics."""
        level = tail_level(num_clusters, self.confidence)
        low, high = np.quantile(statistics_R, [level, 1.0 - level])
        return Interval(float(low), float(high))

    def coverage_limit(self, num_clusters: int) -> float | None:
        """Return how often the bootstrap interval can cover at most, None where that reaches `confidence`.

        Resampled means stay between the least and the greatest value, and S values all lie on one side of the middle
        of their distribution with probability 2 * 0.5**S.
        """
        limit = 1.0 - 2.0 ** (1 - num_clusters)
        return limit if limit < self.confidence else None

    def counts(self, num_clusters: int, num_observations: int | None = None) -> Iterator[Floats]:
        """Yield how often each cluster is in each resample, in chunks of bounded size, each row summing to S.

        Args:
            num_clusters: S.
            num_observations: how many cells a caller makes of each row; S when None.
        """
        width = max(num_clusters, num_observations or 0)
        resamples = min(self.resamples, max(MIN_RESAMPLES, _MAX_CELLS // width))
        if resamples * num_clusters <= _MAX_CACHED_CELLS:
            counts_RS = _cached_counts(num_clusters, resamples)
            step = max(1, _MAX_CHUNK_CELLS // width)
            for start in range(0, resamples, step):
                yield counts_RS[start : start + step]
            return
        generator = np.random.default_rng([_SEED, num_clusters, resamples])
        step = max(1, _MAX_CHUNK_CELLS // width)
        for start in range(0, resamples, step):
            yield _draw(generator, num_clusters, min(step, resamples - start))


def tail_level(num_clusters: int, confidence: float) -> float:
    """Return the level of each tail of the expanded percentile interval: Phi(-sqrt(S / (S-1)) * t)."""
    return float(ndtr(-math.sqrt(num_clusters / (num_clusters - 1)) * t_quantile(num_clusters, confidence)))


def t_quantile(num_clusters: int, confidence: float) -> float:
    """Return Student's t with S - 1 degrees of freedom at (1 + confidence) / 2."""
    return float(stdtrit(num_clusters - 1, (1 + confidence) / 2))


def half_width(std: float, num_clusters: int, confidence: float) -> float:
    """Return half the width of the t interval of a mean."""
    return t_quantile(num_clusters, confidence) * std / math.sqrt(num_clusters)


def seeds_to_decide(distance: float, std: float | None, confidence: float, *, at_least: int = MIN_CLUSTERS) -> float:
    """Return the least number of seeds whose t interval would be narrower than ``distance`` on each side.

    It assumes that the effect and the spread between seeds stay as they were observed.

    Args:
        distance: of the effect from the value that it has to be told apart from.
        std: sample standard deviation between seeds.
        confidence: of the interval.
        at_least: where to start counting.

    Returns:
        The number; infinity for more than `MAX_SEEDS`; NaN where one seed shows no spread.
    """
    if std is None:
        return math.nan
    for num_seeds in range(max(MIN_CLUSTERS, at_least), MAX_SEEDS + 1):
        if half_width(std, num_seeds, confidence) < abs(distance):
            return num_seeds
    return math.inf


def weighted_spearman(x_N: Floats, y_N: Floats, weights_RN: Floats) -> Floats:
    """Return Spearman's correlation of R samples in which observation n stands ``weights_RN[r, n]`` times.

    NaN where a variable is constant. Ties get the mean of their ranks. No resample needs sorting of its own: the order
    of the observations is that of the original, and only the weights differ.
    """
    total_R1 = weights_RN.sum(axis=1, keepdims=True)
    x_RN = _midranks(x_N, weights_RN) - total_R1 / 2
    y_RN = _midranks(y_N, weights_RN) - total_R1 / 2
    weighted_RN = weights_RN * x_RN
    covariance_R = (weighted_RN * y_RN).sum(axis=1)
    variance_R = (weighted_RN * x_RN).sum(axis=1) * (weights_RN * y_RN * y_RN).sum(axis=1)
    # Ranks are half-integers, so a variance of ranks that is not zero is not small either.
    defined_R = variance_R > 1e-9
    rho_R = np.full(len(weights_RN), np.nan)
    rho_R[defined_R] = np.clip(covariance_R[defined_R] / np.sqrt(variance_R[defined_R]), -1.0, 1.0)
    return rho_R


def _midranks(values_N: Floats, weights_RN: Floats) -> Floats:
    """Return the mean rank of each observation, less a half: those below it plus half of its equals."""
    order_N = np.argsort(values_N, kind="stable")
    sorted_N = values_N[order_N]
    starts_G = np.flatnonzero(np.r_[True, sorted_N[1:] != sorted_N[:-1]])
    group_N = np.empty(len(values_N), dtype=np.int64)
    group_N[order_N] = np.repeat(np.arange(len(starts_G)), np.diff(np.r_[starts_G, len(values_N)]))
    sums_RG = np.add.reduceat(weights_RN[:, order_N], starts_G, axis=1)
    ranks_RG = np.cumsum(sums_RG, axis=1) - sums_RG / 2
    return np.asarray(ranks_RG[:, group_N], dtype=np.float64)


@lru_cache(maxsize=16)
def _cached_counts(num_clusters: int, resamples: int) -> Floats:
    counts_RS = _draw(np.random.default_rng([_SEED, num_clusters, resamples]), num_clusters, resamples)
    counts_RS.setflags(write=False)
    return counts_RS


def _draw(generator: np.random.Generator, num_clusters: int, resamples: int) -> Floats:
    shares_S = np.full(num_clusters, 1.0 / num_clusters)
    return generator.multinomial(num_clusters, shares_S, size=resamples).astype(np.float64)

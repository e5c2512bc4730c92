"""Means over seeds with bootstrap and t intervals, and how many seeds would decide.

Shape suffixes: S clusters (seeds), R resamples, U resamples that differ, K numbers of seeds.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import nctdtr, ndtr, stdtrit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MIN_CLUSTERS = 3
"""With fewer seeds an interval would be pretence."""
MAX_SEEDS = 1000
"""Where `seeds_to_decide` stops counting."""
POWER = 0.8
"""How often the number of seeds that `seeds_to_decide` names would give a verdict."""
MIN_RESAMPLES = 999

_SEED = 2405
_MAX_CELLS = 2_000_000
_FEW_CLUSTERS = 8


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
    """Fewer are drawn where their number times that of seeds would exceed two million, but never under 999."""

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
        resamples = min(self.resamples, max(MIN_RESAMPLES, _MAX_CELLS // num_clusters))
        counts_US, repeats_U = cluster_counts(num_clusters, resamples)
        means_R = np.repeat(counts_US @ values_S / num_clusters, repeats_U)
        half = half_width(std, num_clusters, self.confidence)
        return Estimate(
            mean, num_clusters, std, self.interval(means_R, num_clusters), Interval(mean - half, mean + half)
        )

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


@lru_cache(maxsize=8)
def cluster_counts(num_clusters: int, resamples: int) -> tuple[npt.NDArray[np.uint16], Ints]:
    """Return how often each cluster is in a resample, and how many of the resamples are that one.

    Few clusters have few different resamples (126 of five), so a statistic is taken once of each.

    Returns:
        counts_US, each row summing to S, and repeats_U, summing to ``resamples``.
    """
    generator = np.random.default_rng([_SEED, num_clusters, resamples])
    shares_S = np.full(num_clusters, 1.0 / num_clusters)
    counts_RS = generator.multinomial(num_clusters, shares_S, size=resamples).astype(np.uint16)
    if num_clusters > _FEW_CLUSTERS:
        return counts_RS, np.ones(resamples, dtype=np.int64)
    counts_US, repeats_U = np.unique(counts_RS, axis=0, return_counts=True)
    return counts_US, repeats_U.astype(np.int64)


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
    """Return the least number of seeds whose t interval would lie on the effect's side in four studies of five.

    It takes the effect and the spread between seeds for the true ones. The t statistic of a sample has a noncentral t
    distribution then (Cohen, Statistical Power Analysis, 1988).

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
    first = max(MIN_CLUSTERS, at_least)
    if std == 0.0 or distance == 0.0:
        return first if distance != 0.0 else math.inf
    seeds_K = np.arange(first, MAX_SEEDS + 1)
    borders_K = stdtrit(seeds_K - 1, (1 + confidence) / 2)
    missed_K = nctdtr(seeds_K - 1, abs(distance) / std * np.sqrt(seeds_K), borders_K)
    enough = np.flatnonzero(1.0 - missed_K >= POWER)
    return float(seeds_K[enough[0]]) if len(enough) else math.inf

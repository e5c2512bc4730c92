"""Estimates over seeds with bootstrap and t intervals, and rank correlation with seeds resampled whole.

Shape suffixes: S clusters (seeds), N observations, R resamples, G groups of tied values.
"""

import math
from collections.abc import Callable
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
_MAX_CELLS = 2_000_000
_MAX_CHUNK_CELLS = 250_000
_MAX_UNDEFINED = 0.05
_FEW_CLUSTERS = 8
_FEW_GROUPS = 32


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
    """Fewer are drawn where their number times that of trials would exceed two million, but never under 999."""

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
        means_R = self._resampled(lambda counts_RS: counts_RS @ values_S / num_clusters, num_clusters, num_clusters)
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
        order_N = np.argsort(y_N, kind="stable")
        x_N, y_N, clusters_N = x_N[order_N], y_N[order_N], clusters_N[order_N]
        rhos_R = self._resampled(
            lambda counts_RS: weighted_spearman(x_N, y_N, counts_RS[:, clusters_N]), num_clusters, len(x_N)
        )
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

    def _resampled(self, statistic: Callable[[Floats], Floats], num_clusters: int, num_observations: int) -> Floats:
        """Return a statistic of every resample, taken over chunks of bounded size.

        Args:
            statistic: of resamples given as counts_RS, how often each cluster is in each.
            num_clusters: S.
            num_observations: how many cells the statistic makes of each row.
        """
        width = max(num_clusters, num_observations)
        resamples = min(self.resamples, max(MIN_RESAMPLES, _MAX_CELLS // width))
        counts_US, repeats_U = cluster_counts(num_clusters, resamples)
        step = max(1, _MAX_CHUNK_CELLS // width)
        chunks = [
            statistic(counts_US[start : start + step].astype(np.float64)) for start in range(0, len(counts_US), step)
        ]
        return np.repeat(np.concatenate(chunks), repeats_U)


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
    half_R1 = weights_RN.sum(axis=1, keepdims=True) / 2
    x_RN = _midranks(x_N, weights_RN) - half_R1
    y_RN = _midranks(y_N, weights_RN) - half_R1
    covariance_R, variance_x_R, variance_y_R = (
        np.einsum("rn,rn,rn->r", weights_RN, a_RN, b_RN) for a_RN, b_RN in ((x_RN, y_RN), (x_RN, x_RN), (y_RN, y_RN))
    )
    variance_R = variance_x_R * variance_y_R
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
    sums_RG = _group_sums(weights_RN, order_N, starts_G, group_N)
    ranks_RG = np.cumsum(sums_RG, axis=1) - sums_RG / 2
    return np.asarray(_columns(ranks_RG, group_N), dtype=np.float64)


def _group_sums(weights_RN: Floats, order_N: Ints, starts_G: Ints, group_N: Ints) -> Floats:
    num_groups = len(starts_G)
    if num_groups <= _FEW_GROUPS:
        # A product with the groups' indicators is several times as fast as sorting the columns.
        return np.asarray(weights_RN @ np.eye(num_groups)[group_N], dtype=np.float64)
    sorted_RN = _columns(weights_RN, order_N)
    if num_groups == len(order_N):
        return sorted_RN
    return np.asarray(np.add.reduceat(sorted_RN, starts_G, axis=1), dtype=np.float64)


def _columns(values_RN: Floats, chosen_N: Ints) -> Floats:
    """Return these columns, without a copy where they are all in their order."""
    in_order = len(chosen_N) == values_RN.shape[1] and bool(np.all(chosen_N[1:] > chosen_N[:-1]))
    return values_RN if in_order else np.take(values_RN, chosen_N, axis=1)

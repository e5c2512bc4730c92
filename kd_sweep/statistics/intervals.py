"""Means over seeds with bootstrap and t intervals.

Shape suffixes: S clusters (seeds), R resamples, U resamples that differ, B samples of as many clusters.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtrit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.unsignedinteger[Any]]

MIN_CLUSTERS = 3
"""With fewer seeds an interval would be pretence."""
MIN_RESAMPLES = 999

_SEED = 2405
_MAX_CELLS = 2_000_000
_FEW_CLUSTERS = 8
_ROUNDING = 1e-12
_ROWS_AT_ONCE = 512
_SAMPLES_AT_ONCE = 32
_WIDER = 2.5
"""So many times as many resamples as an end needs are put in order for it: tails of skewed samples are longer."""
_DIGITS = 12
"""Of the ends of an interval, counted from the first of the largest value."""


@dataclass(frozen=True)
class Interval:
    """Two ends, both included."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds. Intervals are None below `MIN_CLUSTERS` seeds and where seeds do not differ at all."""

    value: float
    num_clusters: int
    std: float | None
    """Sample standard deviation between seeds, not below what the resolution hides; None below two seeds."""
    interval: Interval | None
    """Of the bootstrap."""
    t_interval: Interval | None
    """Of Student's t, which assumes normal values but does not become too narrow with three or four seeds."""


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are taken. The same data give the same interval, whatever was computed before."""

    confidence: float = 0.95
    resamples: int = 10_000
    """Fewer are drawn where their number times that of seeds would exceed two million, but never under 999."""

    def estimate(self, values_S: Floats, least_std: float = 0.0) -> Estimate:
        """Return the mean of one value per seed, with its intervals.

        The bootstrap interval is the expanded percentile interval (Hesterberg, The American Statistician 69, 2015):
        percentiles of the resampled means at the levels at which a normal sample of this size would get the width of
        its t interval. The plain percentile interval is too narrow by a factor of about sqrt((S - 1) / S) and more.

        Args:
            values_S: at least one finite value.
            least_std: what the resolution of a metric hides: three seeds that all gain one image of 360 do not show
                that every seed would. No interval is shorter than a spread of this would make it.
        """
        return self.estimates([(values_S, least_std)])[0]

    def estimates(self, samples: Sequence[tuple[Floats, float]]) -> list[Estimate]:
        """Return what `estimate` returns of each sample: many of as many seeds take a fraction of the time together."""
        plain = [self._without_bootstrap(*sample) for sample in samples]
        by_size: dict[int, list[int]] = {}
        for at, estimate in enumerate(plain):
            if estimate.t_interval is not None:
                by_size.setdefault(estimate.num_clusters, []).append(at)
        for num_clusters, places in by_size.items():
            ends = self._percentiles([samples[at][0] for at in places])
            for at, (low, high) in zip(places, ends, strict=True):
                # Of a normal sample with this spread, to which the percentiles are expanded.
                least = half_width(samples[at][1], num_clusters, self.confidence)
                mean = plain[at].value
                interval = Interval(min(low, mean - least), max(high, mean + least))
                plain[at] = replace(plain[at], interval=interval)
        return plain

    def _without_bootstrap(self, values_S: Floats, least_std: float) -> Estimate:
        num_clusters = len(values_S)
        mean = float(values_S.mean())
        std = spread(values_S, least_std) if num_clusters > 1 else None
        if not std or num_clusters < MIN_CLUSTERS:
            return Estimate(mean, num_clusters, std, None, None)
        half = half_width(std, num_clusters, self.confidence)
        return Estimate(mean, num_clusters, std, None, Interval(mean - half, mean + half))

    def _percentiles(self, samples: Sequence[Floats]) -> Iterator[tuple[float, float]]:
        """Yield the ends of the expanded percentile intervals of the means of samples of as many seeds."""
        num_clusters = len(samples[0])
        resamples = min(self.resamples, max(MIN_RESAMPLES, _MAX_CELLS // num_clusters))
        drawn = _resamples(num_clusters, resamples)
        level = tail_level(num_clusters, self.confidence)
        positions = np.array([level * (resamples - 1), (1.0 - level) * (resamples - 1)])
        ranks = np.stack([np.floor(positions), np.ceil(positions)]).astype(np.int64)
        num_spreads = -float(ndtri(min(0.5, _WIDER * level)))
        room_BU = np.empty((_SAMPLES_AT_ONCE, len(drawn.repeats_U)))  # made anew for each block it would be page faults
        for at in range(0, len(samples), _SAMPLES_AT_ONCE):
            values_BS = np.stack(samples[at : at + _SAMPLES_AT_ONCE])
            sums_BU = drawn.sums(values_BS, into=room_BU[: len(values_BS)])
            # The sum of a resample is spread as that of as many draws from the sample.
            middles_B, spreads_B = values_BS.sum(1), math.sqrt(num_clusters) * values_BS.std(1)
            borders_B2 = middles_B[:, None] + num_spreads * spreads_B[:, None] * np.array([-1.0, 1.0])
            found_B22 = _at_ranks(ranks, sums_BU, drawn.repeats_U, borders_B2)
            below_B2, above_B2 = np.moveaxis(found_B22, 1, 0) / num_clusters
            ends_B2 = below_B2 + (above_B2 - below_B2) * (positions - ranks[0])
            for ends, largest in zip(ends_B2, np.abs(values_BS).max(1), strict=True):
                # Sums round otherwise beside other samples, in digits behind these.
                low, high = ends.round(_DIGITS - math.ceil(math.log10(largest or 1.0))).tolist()
                yield low, high

    def coverage_limit(self, num_clusters: int) -> float | None:
        """Return how often the bootstrap interval can cover at most, None where that reaches `confidence`.

        Resampled means stay between the least and the greatest value, and S values all lie on one side of the middle
        of their distribution with probability 2 * 0.5**S.
        """
        limit = 1.0 - 2.0 ** (1 - num_clusters)
        return limit if limit < self.confidence else None


def cluster_counts(num_clusters: int, resamples: int) -> tuple[Counts, Ints]:
    """Return how often each cluster is in a resample, and how many of the resamples are that one.

    Few clusters have few different resamples (126 of five), so a statistic is taken once of each.

    Returns:
        counts_US, each row summing to S, in the smallest integers that hold them; and repeats_U, summing to
        ``resamples``.
    """
    generator = np.random.default_rng([_SEED, num_clusters, resamples])
    shares_S = np.full(num_clusters, 1.0 / num_clusters)
    smallest = np.min_scalar_type(num_clusters)
    counts_RS = np.empty((resamples, num_clusters), smallest)
    for at in range(0, resamples, _ROWS_AT_ONCE):  # drawn as they come: all at once they are eight bytes each
        rows = counts_RS[at : at + _ROWS_AT_ONCE]
        rows[:] = generator.multinomial(num_clusters, shares_S, size=len(rows))
    counts_RS = counts_RS.astype(np.min_scalar_type(counts_RS.max()), copy=False)
    if num_clusters > _FEW_CLUSTERS:
        return counts_RS, np.ones(resamples, dtype=np.int64)
    counts_US, repeats_U = np.unique(counts_RS, axis=0, return_counts=True)
    return counts_US, repeats_U.astype(np.int64)


@dataclass(frozen=True)
class _Resamples:
    """Resamples as they are kept: two counts to a byte, as a dozen numbers of seeds are met again and again."""

    counts_UH: Counts
    """Of the first half of the clusters in the lower bits, of the second half in the higher ones."""
    num_bits: int
    """Of a count."""
    repeats_U: Ints

    def sums(self, values_BS: Floats, into: Floats) -> Floats:
        """Return the sum of each resample of each sample, BU, in the room that is given."""
        num_clusters, half = values_BS.shape[1], self.counts_UH.shape[1]
        for at in range(0, len(self.counts_UH), _ROWS_AT_ONCE):  # as floats the counts take much memory
            counts_RH = self.counts_UH[at : at + _ROWS_AT_ONCE]
            rows_RS = np.empty((len(counts_RH), num_clusters))
            rows_RS[:, :half] = counts_RH & ((1 << self.num_bits) - 1)
            rows_RS[:, half:] = (counts_RH >> self.num_bits)[:, : num_clusters - half]
            into[:, at : at + len(rows_RS)] = values_BS @ rows_RS.T
        return into


@lru_cache(maxsize=12)
def _resamples(num_clusters: int, resamples: int) -> _Resamples:
    counts_US, repeats_U = cluster_counts(num_clusters, resamples)
    num_bits = 4 if counts_US.max() < 1 << 4 else 16
    kind: type[np.unsignedinteger[Any]] = np.uint8 if num_bits == 4 else np.uint32
    half = (num_clusters + 1) // 2
    counts_UH = counts_US[:, :half].astype(kind)
    counts_UH[:, : num_clusters - half] |= counts_US[:, half:].astype(kind) << num_bits
    return _Resamples(counts_UH, num_bits, repeats_U)


def _at_ranks(ranks: Ints, sums_BU: Floats, repeats_U: Ints, borders_B2: Floats) -> Floats:
    """Return for each sample the sums that have these ranks among all its resamples, in the shape of ``ranks``.

    Those of the first column are expected below the first border, those of the second above the second one.
    """
    if repeats_U.max() == 1:
        return np.stack([_in_tails(ranks, *sums) for sums in zip(sums_BU, borders_B2, strict=True)])
    order_BU = np.argsort(sums_BU, axis=1)
    last_BU = np.cumsum(repeats_U[order_BU], axis=1)
    at_rank = [np.searchsorted(last_U, ranks, side="right") for last_U in last_BU]
    return np.stack([sums_U[order_U[at]] for sums_U, order_U, at in zip(sums_BU, order_BU, at_rank, strict=True)])


def _in_tails(ranks: Ints, sums_U: Floats, borders_2: Floats) -> Floats:
    """Return the sums that have these ranks. Only those beyond the borders are put in order, where they are enough."""
    below = np.compress(sums_U < borders_2[0], sums_U)
    above = np.compress(sums_U > borders_2[1], sums_U)
    lower, upper = ranks[:, 0], ranks[:, 1] - (len(sums_U) - len(above))
    if lower[-1] >= len(below) or upper[0] < 0:
        return np.asarray(np.partition(sums_U, np.unique(ranks))[ranks])
    return np.stack([np.partition(below, lower)[lower], np.partition(above, upper)[upper]], axis=1)


def tail_level(num_clusters: int, confidence: float) -> float:
    """Return the level of each tail of the expanded percentile interval: Phi(-sqrt(S / (S-1)) * t)."""
    return float(ndtr(-math.sqrt(num_clusters / (num_clusters - 1)) * t_quantile(num_clusters, confidence)))


def t_quantile(num_clusters: int, confidence: float) -> float:
    """Return Student's t with S - 1 degrees of freedom at (1 + confidence) / 2."""
    return float(stdtrit(num_clusters - 1, (1 + confidence) / 2))


def half_width(std: float, num_clusters: int, confidence: float) -> float:
    """Return half the width of the t interval of a mean."""
    return t_quantile(num_clusters, confidence) * std / math.sqrt(num_clusters)


def t_statistic(mean: float, std: float | None, num_clusters: int) -> float | None:
    """Return how many standard errors a mean is from zero; None where there are too few seeds, or all are equal."""
    return mean / (std / math.sqrt(num_clusters)) if std and num_clusters >= MIN_CLUSTERS else None


def spread(values_S: Floats, least_std: float = 0.0) -> float:
    """Return the sample standard deviation, not below ``least_std``; 0 for what is rounding of equal values."""
    std = float(values_S.std(ddof=1))
    return max(least_std, std if std > _ROUNDING * (float(np.abs(values_S).max()) + _ROUNDING) else 0.0)

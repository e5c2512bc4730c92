"""Spearman's rank correlation of trials that share seeds, with a jackknife interval over seeds.

Shape suffixes: N observations, G groups of seeds, each left out in turn.
"""

import math
from dataclasses import dataclass

import numpy as np

from kd_sweep.statistics.intervals import MIN_CLUSTERS, Floats, Interval, Ints, t_quantile

NEAR_CEILING = 0.98
"""Above this share of the greatest correlation that ties allow, an interval is no more than a description."""

_MAX_GROUPS = 40
_AT_CEILING = 1.0 - 1e-9
_NO_SPREAD = 1e-9


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation of one sample."""

    rho: float
    ceiling: float
    """The greatest absolute value that the ties in the two variables allow: 0.94 for three strengths of many trials."""
    interval: Interval | None
    """None below `MIN_CLUSTERS` seeds, at the ceiling, where all seeds have one order, and where a variable is constant
    without one of the seeds.
    """

    @property
    def is_near_ceiling(self) -> bool:
        """Whether hardly any trial is out of order, so that the seeds tell little about other seeds."""
        return abs(self.rho) > NEAR_CEILING * self.ceiling


def rank_correlation(x_N: Floats, y_N: Floats, clusters_N: Ints, confidence: float) -> RankCorrelation | None:
    """Return Spearman's rank correlation with its interval, None where a variable is constant.

    The interval is that of Student's t on Fisher's z of the correlation over its ceiling, with the standard error from
    leaving out each seed with all its trials (Efron, The Jackknife, 1982). Over its ceiling: with tied strengths the
    correlation ends below 1, and Fisher's z has to become infinite where it ends. Where leaving out a seed reaches the
    ceiling, z of the correlation itself is taken, which stays finite.

    Args:
        x_N: one variable.
        y_N: the other.
        clusters_N: which seed (0 … S-1, each at least once) an observation belongs to.
        confidence: of the interval.
    """
    x_ranks_N, y_ranks_N = _ranks(x_N), _ranks(y_N)
    correlation = _with_ceiling(x_ranks_N, y_ranks_N)
    if correlation is None:
        return None
    rho, ceiling = correlation
    num_clusters = int(clusters_N.max()) + 1
    if num_clusters < MIN_CLUSTERS or abs(rho) >= _AT_CEILING * ceiling:
        return RankCorrelation(rho, ceiling, None)
    num_groups = min(num_clusters, _MAX_GROUPS)
    kept = [clusters_N % num_groups != group for group in range(num_groups)]
    left_G2 = np.array([_with_ceiling(x_ranks_N[keep_N], y_ranks_N[keep_N]) or (math.nan, math.nan) for keep_N in kept])
    return RankCorrelation(rho, ceiling, _interval(rho, ceiling, left_G2[:, 0], left_G2[:, 1], confidence))


def spearman(x_N: Floats, y_N: Floats) -> float | None:
    """Return Spearman's correlation; ties get the mean of their ranks. None where a variable is constant."""
    correlation = _with_ceiling(_ranks(x_N), _ranks(y_N))
    return None if correlation is None else correlation[0]


def _with_ceiling(x_N: Ints, y_N: Ints) -> tuple[float, float] | None:
    """Return Spearman's correlation of two variables given as `_ranks`, and the greatest absolute one that their ties
    allow, whichever observations were paired: both in order, or one in reverse order where they correlate negatively.
    """
    (x_ranks_N, x_ordered_N), (y_ranks_N, y_ordered_N) = _centred_ranks(x_N), _centred_ranks(y_N)
    variance = float(x_ranks_N @ x_ranks_N) * float(y_ranks_N @ y_ranks_N)
    if variance <= 0:
        return None
    product = float(x_ranks_N @ y_ranks_N)
    best = abs(float(x_ordered_N @ (y_ordered_N if product >= 0 else y_ordered_N[::-1])))
    scale = math.sqrt(variance)
    return min(1.0, max(-1.0, product / scale)), min(1.0, best / scale)


def _interval(rho: float, ceiling: float, rhos_G: Floats, ceilings_G: Floats, confidence: float) -> Interval | None:
    if np.isnan(rhos_G).any():
        return None
    scale, scales_G = ceiling, ceilings_G
    if (np.abs(rhos_G) >= _AT_CEILING * ceilings_G).any():
        scale, scales_G = 1.0, np.ones_like(rhos_G)
    if (np.abs(rhos_G) >= _AT_CEILING * scales_G).any():
        return None
    num_groups = len(rhos_G)
    z, z_G = math.atanh(rho / scale), np.arctanh(rhos_G / scales_G)
    if float(z_G.std()) < _NO_SPREAD:
        return None
    half = t_quantile(num_groups, confidence) * math.sqrt((num_groups - 1) * float(z_G.var()))
    low, high = scale * math.tanh(z - half), scale * math.tanh(z + half)
    return Interval(max(low, -ceiling), min(high, ceiling))


def _ranks(values_N: Floats) -> Ints:
    """Return which of the different values, in ascending order, each observation has."""
    return np.unique(values_N, return_inverse=True)[1].astype(np.int64)


def _centred_ranks(places_N: Ints) -> tuple[Floats, Floats]:
    """Return the mean rank of each observation less the mean of all: as they come, and in ascending order."""
    counts = np.bincount(places_N)
    ranks = np.cumsum(counts) - (counts - 1) / 2 - (len(places_N) + 1) / 2
    return ranks[places_N], np.repeat(ranks, counts)

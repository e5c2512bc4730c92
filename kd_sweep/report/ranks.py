"""Spearman's rank correlation of trials that share seeds, with a jackknife interval over seeds.

Shape suffixes: N observations, G groups of seeds, each left out in turn.
"""

import math
from dataclasses import dataclass

import numpy as np

from kd_sweep.report.intervals import MIN_CLUSTERS, Floats, Interval, Ints, t_quantile

NEAR_CEILING = 0.98
"""Above this share of the greatest correlation that ties allow, an interval is no more than a description."""

_MAX_GROUPS = 40
_AT_CEILING = 1.0 - 1e-9


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation of one sample."""

    rho: float
    ceiling: float
    """The greatest absolute value that the ties in the two variables allow: 0.94 for three strengths of many trials."""
    interval: Interval | None
    """None below `MIN_CLUSTERS` seeds, at the ceiling, and where a variable is constant without one of the seeds."""

    @property
    def is_near_ceiling(self) -> bool:
        """Whether hardly any trial is out of order, so that the seeds say little of how many of others would be."""
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
    rho, ceiling = spearman(x_N, y_N), greatest_spearman(x_N, y_N)
    if rho is None or ceiling is None:
        return None
    num_clusters = int(clusters_N.max()) + 1
    if num_clusters < MIN_CLUSTERS or abs(rho) >= _AT_CEILING * ceiling:
        return RankCorrelation(rho, ceiling, None)
    num_groups = min(num_clusters, _MAX_GROUPS)
    kept = [clusters_N % num_groups != group for group in range(num_groups)]
    left = [(spearman(x_N[keep_N], y_N[keep_N]), greatest_spearman(x_N[keep_N], y_N[keep_N])) for keep_N in kept]
    rhos_G = np.array([math.nan if found is None else found for found, _ in left])
    ceilings_G = np.array([math.nan if found is None else found for _, found in left])
    return RankCorrelation(rho, ceiling, _interval(rho, ceiling, rhos_G, ceilings_G, confidence))


def spearman(x_N: Floats, y_N: Floats) -> float | None:
    """Return Spearman's correlation; ties get the mean of their ranks. None where a variable is constant."""
    x_N, y_N = _centred_ranks(x_N), _centred_ranks(y_N)
    variance = float(x_N @ x_N) * float(y_N @ y_N)
    return min(1.0, max(-1.0, float(x_N @ y_N) / math.sqrt(variance))) if variance > 0 else None


def greatest_spearman(x_N: Floats, y_N: Floats) -> float | None:
    """Return the greatest absolute correlation of the two, whichever observations were paired: both in order, or one
    in reverse order where they correlate negatively. None where a variable is constant.
    """
    x_N, y_N = _centred_ranks(x_N), _centred_ranks(y_N)
    ordered_N = np.sort(y_N) if x_N @ y_N >= 0 else -np.sort(-y_N)
    found = spearman(np.sort(x_N), ordered_N)
    return None if found is None else abs(found)


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
    half = t_quantile(num_groups, confidence) * math.sqrt((num_groups - 1) * float(z_G.var()))
    low, high = scale * math.tanh(z - half), scale * math.tanh(z + half)
    return Interval(max(low, -ceiling), min(high, ceiling))


def _centred_ranks(values_N: Floats) -> Floats:
    """Return the mean rank of each observation, less the mean of all."""
    _, group_N, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return np.asarray(ranks[group_N] - (len(values_N) + 1) / 2, dtype=np.float64)

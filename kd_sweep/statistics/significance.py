"""The significance of means over seeds: p values for normal and for skewed differences, and Holm's correction.

Shape suffixes: S seeds, R draws of the reference distribution, T tests.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from scipy.special import nctdtr, nctdtrinc, stdtr, stdtrit

from kd_sweep.statistics.intervals import MIN_CLUSTERS, Floats

MAX_SEEDS = 1000
"""Where `seeds_to_decide` stops counting."""
POWER = 0.8
"""How often `seeds_to_decide` as many seeds would give a verdict, or a `detectable_effect` be seen."""

PValue = Callable[[float, int], float]
"""`normal_p` or `skewed_p`: of a t statistic and a number of seeds."""

_SEED = 2405
_DRAWS = (20_000, 100_000)
_MAX_CELLS = 2_000_000
_LARGEST_REFERENCE = 100
_CELLS_AT_ONCE = 100_000


def normal_p(t: float, num_seeds: int) -> float:
    """Return the two-sided p of Student's t statistic, for differences that are normal."""
    return 2.0 * float(stdtr(num_seeds - 1, -abs(t)))


def skewed_p(t: float, num_seeds: int) -> float:
    """Return the two-sided p of a t statistic for differences that may be as skewed as an exponential distribution.

    With few seeds a sample of skewed differences often lacks their long tail: its mean is off and its spread too small,
    so Student's t calls nothing an effect too often (Bartlett, Proc. Camb. Phil. Soc. 31, 1935). Here the statistic is
    compared with that of exponential differences with mean zero, skewness 2, and with Student's distribution; the
    larger p counts, so that it holds for normal, symmetric and moderately skewed differences alike.
    """
    return max(normal_p(t, num_seeds), float(exponential_ps(np.array([t]), num_seeds)[0]))


def exponential_ps(ts: Floats, num_seeds: int) -> Floats:
    """Return the two-sided p values of t statistics among those of exponential differences with mean zero."""
    reference_R = _reference(num_seeds)
    as_extreme = len(reference_R) - np.searchsorted(reference_R, np.abs(ts))
    return np.asarray((1 + as_extreme) / (1 + len(reference_R)))


def holm(ps_T: Sequence[float]) -> list[float]:
    """Return p values corrected for the number of tests, in their order (Holm, Scand. J. Statist. 6, 1979).

    Where those at most 0.05 are called effects, a family of tests has a false one in at most 5 % of studies.
    """
    corrected = [0.0] * len(ps_T)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps_T)), key=ps_T.__getitem__)):
        largest = max(largest, min(1.0, (len(ps_T) - rank) * ps_T[index]))
        corrected[index] = largest
    return corrected


def seeds_to_decide(distance: float, std: float | None, level: float, *, at_least: int = MIN_CLUSTERS) -> float:
    """Return the least number of seeds with which `skewed_p` would be at most ``level`` in four studies of five.

    It takes the effect and the spread between seeds for the true ones, and differences for normal. The t statistic of a
    sample has a noncentral t distribution then (Cohen, Statistical Power Analysis, 1988).

    Args:
        distance: of the effect from the value that it is tested against.
        std: sample standard deviation between seeds.
        level: of the test, 0.05 over the number of tests that it is one of.
        at_least: the first number that is tried.

    Returns:
        The number; infinity for more than `MAX_SEEDS`; NaN where one seed shows no spread.
    """
    if std is None:
        return math.nan
    first = max(MIN_CLUSTERS, at_least)
    if std == 0.0 or distance == 0.0:
        return first if distance != 0.0 else math.inf
    effect = abs(distance) / std
    if power(effect, MAX_SEEDS, level) < POWER:
        return math.inf
    low, high = first - 1, MAX_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, middle, level) >= POWER else (middle, high)
    return float(high)


def detectable_effect(std: float | None, num_seeds: int, level: float) -> float | None:
    """Return the least distance from what is tested that `skewed_p` would see in four studies of five.

    It takes the spread between seeds for the true one, and differences for normal, as `seeds_to_decide` does, whose
    number of seeds is the least with which the distance given to it is detectable.

    Args:
        std: sample standard deviation between seeds.
        num_seeds: of the study.
        level: of the test, 0.05 over the number of tests that it is one of.

    Returns:
        The distance; None below `MIN_CLUSTERS` seeds and where seeds do not differ at all.
    """
    if not std or num_seeds < MIN_CLUSTERS:
        return None
    noncentrality = float(nctdtrinc(num_seeds - 1, 1.0 - POWER, _critical(num_seeds, level)))
    return std * noncentrality / math.sqrt(num_seeds)


def power(effect: float, num_seeds: int, level: float) -> float:
    """Return how often an effect has a `skewed_p` of at most ``level``, for normal differences.

    Args:
        effect: in standard deviations between seeds.
        num_seeds: of the study.
        level: of the test.
    """
    missed = float(nctdtr(num_seeds - 1, effect * math.sqrt(num_seeds), _critical(num_seeds, level)))
    # Far from the critical value, where nothing is missed, scipy has no digits left and returns NaN for some numbers.
    return 1.0 if math.isnan(missed) else 1.0 - missed


def _critical(num_seeds: int, level: float) -> float:
    """Return the least t statistic whose `skewed_p` is at most ``level``.

    That of exponential differences approaches Student's with the number of seeds, and above a hundred nearly in
    proportion to its inverse: there it is that of a hundred, scaled.
    """
    by_t = float(stdtrit(num_seeds - 1, 1.0 - level / 2))
    drawn = min(num_seeds, _LARGEST_REFERENCE)
    ratio = _quantile(_reference(drawn), 1.0 - level) / float(stdtrit(drawn - 1, 1.0 - level / 2))
    return by_t * max(1.0, 1.0 + (ratio - 1.0) * drawn / num_seeds)


def _quantile(sorted_R: Floats, level: float) -> float:
    return float(sorted_R[math.ceil(level * (len(sorted_R) - 1))])


@lru_cache(maxsize=128)
def _reference(num_seeds: int) -> Floats:
    """Return the sorted absolute t statistics of samples of exponential differences with mean zero."""
    draws = max(_DRAWS[0], min(_DRAWS[1], _MAX_CELLS // num_seeds))
    generator = np.random.default_rng([_SEED, num_seeds])
    found, rows = [], max(1, _CELLS_AT_ONCE // num_seeds)
    for begin in range(0, draws, rows):  # drawn as they come: of 300 seeds all at once are 75 MB
        values_RS = generator.standard_exponential((min(rows, draws - begin), num_seeds))
        values_RS -= 1.0
        means_R = values_RS.mean(1)
        values_RS -= means_R[:, None]
        np.square(values_RS, out=values_RS)
        stds_R = np.sqrt(values_RS.sum(1) / (num_seeds - 1))
        found.append(np.abs(means_R) / (stds_R / math.sqrt(num_seeds)))
    return np.sort(np.concatenate(found))

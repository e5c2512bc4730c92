"""An exact test that needs no distribution: within each seed, the levels are permuted.

Shape suffixes: S seeds, K levels, P orders of the levels, D rearrangements.
"""

import itertools
import math
from functools import lru_cache

import numpy as np

from kd_sweep.statistics.intervals import Floats, Ints

_SEED = 2405
_MAX_ALL = 50_000
"""Up to so many rearrangements are all taken; of more, `_DRAWS` are drawn."""
_DRAWS = 9_999
_MAX_LEVELS = 7
"""Up to so many levels, their orders are listed (5,040)."""
_TOLERANCE = 1e-9


def exact_p(values_SK: Floats) -> float:
    """Return how often the levels' means differ as much, in squares, if levels are permuted within seeds.

    Where the level makes no difference to an outcome, all orders of a seed's values are equally likely, whatever their
    distribution (Fisher, The Design of Experiments, 1935). With two levels this is the sign-flip test of paired
    differences. Drawn rearrangements count the observed one among them, so the test stays exact (Phipson and Smyth,
    Stat. Appl. Genet. Mol. Biol. 9, 2010).

    Args:
        values_SK: the outcome of every seed at every level.
    """
    centred_SK = values_SK - values_SK.mean(1, keepdims=True)
    border = float((centred_SK.sum(0) ** 2).sum()) * (1.0 - _TOLERANCE)
    if _num_all(*values_SK.shape) <= _MAX_ALL:
        return float((_squares(_all_sums(centred_SK)) >= border).mean())
    return (1 + int((_squares(_drawn_sums(centred_SK)) >= border).sum())) / (1 + _DRAWS)


def smallest_p(num_seeds: int, num_levels: int) -> float:
    """Return the smallest p that `exact_p` can have: that of seeds which all have the same profile."""
    number = _num_all(num_seeds, num_levels)
    return 1.0 / (number if number <= _MAX_ALL else _DRAWS + 1)


def seeds_within_reach(num_levels: int, level: float) -> int:
    """Return the least number of seeds with which `exact_p` can be at most ``level``."""
    return next(
        seeds for seeds in itertools.count(1) if smallest_p(seeds, num_levels) <= max(level, 1.0 / (_DRAWS + 1))
    )


def _num_all(num_seeds: int, num_levels: int) -> int:
    """Return the number of rearrangements that differ: one seed can stay as it is."""
    return int(math.factorial(num_levels) ** (num_seeds - 1))


def _squares(sums_DK: Floats) -> Floats:
    return np.asarray((sums_DK**2).sum(1))


def _all_sums(centred_SK: Floats) -> Floats:
    """Return the sums over seeds of all rearrangements, DK."""
    num_levels = centred_SK.shape[1]
    sums_DK = centred_SK[:1]
    for values_K in centred_SK[1:]:
        sums_DK = (sums_DK[:, None] + values_K[_orders(num_levels)]).reshape(-1, num_levels)
    return sums_DK


def _drawn_sums(centred_SK: Floats) -> Floats:
    num_levels = centred_SK.shape[1]
    sums_DK = np.repeat(centred_SK[:1], _DRAWS, axis=0)
    for index, values_K in enumerate(centred_SK[1:]):
        generator = np.random.default_rng([_SEED, index, num_levels])
        if num_levels <= _MAX_LEVELS:
            orders_PK = _orders(num_levels)
            sums_DK += values_K[orders_PK][generator.integers(len(orders_PK), size=_DRAWS)]
        else:
            sums_DK += generator.permuted(np.tile(values_K, (_DRAWS, 1)), axis=1)
    return sums_DK


@lru_cache(maxsize=8)
def _orders(num_levels: int) -> Ints:
    return np.array(list(itertools.permutations(range(num_levels))), dtype=np.int64)

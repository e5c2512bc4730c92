"""Alpha spending: p values that hold however often a study is looked at while its seeds grow in number.

Shape suffixes: R draws of a whole study, N looks, A levels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy.special import stdtr

from kd_sweep.statistics.intervals import Floats, Ints
from kd_sweep.statistics.significance import exponential_ps

SHAPE = 3.0
"""Power of the share of seeds that the share of the error is which is spent by then."""

Law = Literal["normal", "exponential"]
"""Of differences between seeds, where nothing has an effect."""
STRICT: tuple[Law, ...] = ("normal", "exponential")
"""Laws that `skewed_p` allows for."""
NORMAL: tuple[Law, ...] = ("normal",)

_SEED = 2405
_DRAWS = 200_000
_ROWS_AT_ONCE = 10_000
_LEVELS_A = np.geomspace(1e-5, 1.0, 301)


@dataclass(frozen=True)
class Looks:
    """When a study is looked at: after every seed, from the first number of seeds to the last."""

    first: int
    last: int

    def spent(self, num_seeds: int) -> float:
        """Return the share of the error that is spent by so many seeds (Kim and DeMets, Biometrika 74, 1987)."""
        return (min(num_seeds, self.last) / self.last) ** SHAPE if num_seeds >= self.first else 0.0

    def number(self, num_seeds: int) -> int:
        """Return which look this is, from 1."""
        return num_seeds - self.first + 1

    @property
    def num_looks(self) -> int:
        """How many looks there can be."""
        return self.number(self.last)

    def level(self, num_seeds: int, level: float, laws: Iterable[Law] = STRICT) -> float:
        """Return the p value, of a look by itself, at which a test of an error of ``level`` decides there."""
        at = int(np.searchsorted(_LEVELS_A, level * (1.0 + 1e-9), side="right")) - 1
        return min(float(_borders(self, law)[max(at, 0), num_seeds - self.first]) for law in laws)


@dataclass(frozen=True)
class Seen:
    """What a test has come to at one look."""

    num_seeds: int
    """That count in it: seeds that lack a trial do not."""
    t: float
    exact: float = 0.0
    """The p value of an exact test, where that counts as well."""


def repeated_p(seen: Iterable[Seen], looks: Looks, laws: Iterable[Law] = STRICT) -> float:
    """Return the least error at which a test has decided at one of its looks, as all errors are spent alike.

    It is a p value whatever ended the study and whenever: where nothing has an effect, it is at most x in a share of x
    of studies, if they are looked at after every seed up to the last (Jennison and Turnbull, Group Sequential Methods,
    2000, chapter 9). Borders are those of Lan and DeMets (Biometrika 70, 1983): at each look, studies that have not
    been decided before are decided in the share that `Looks.spent` grows by. Looks that are left out, since a seed
    lacks trials, spend less. Those at which the effect had the other sign than at the last do not count.

    Args:
        seen: the looks so far, in order.
        looks: all that there can be.
        laws: of the differences; of several, the largest p counts.
    """
    known = [one for one in seen if looks.first <= one.num_seeds <= looks.last]
    alike = [one for one in known if one.t * known[-1].t > 0]
    return max(
        min(
            (float(decided_at(np.array([one.t]), one.num_seeds, looks, law, one.exact)[0]) for one in alike),
            default=1.0,
        )
        for law in laws
    )


def decided_at(ts_T: Floats, num_seeds: int, looks: Looks, law: Law, exact: float = 0.0) -> Floats:
    """Return the least errors, of those that are looked up, at which one look at tests decides them."""
    ps_T = np.maximum(exact, _alone(ts_T, num_seeds, law))
    at_T = np.searchsorted(_borders(looks, law)[:, num_seeds - looks.first], ps_T)
    return np.append(_LEVELS_A, 1.0)[at_T]


def _alone(ts_R: Floats, num_seeds: int, law: Law) -> Floats:
    """Return the p values of t statistics at one look."""
    return 2.0 * stdtr(num_seeds - 1, -np.abs(ts_R)) if law == "normal" else exponential_ps(ts_R, num_seeds)


@lru_cache(maxsize=16)
def _borders(looks: Looks, law: Law) -> Floats:
    """Return for each error of `_LEVELS_A` the p values at which the looks decide, AN."""
    return borders(_null_ps(looks, law), [looks.spent(n) for n in range(looks.first, looks.last + 1)], _LEVELS_A)


def borders(ps_RN: Floats, spent_N: Iterable[float], levels_A: Iterable[float]) -> Floats:
    """Return the greatest p values at which looks may decide, so that by each of them no more than its share is spent.

    Args:
        ps_RN: of every look by itself, in studies in which nothing has an effect.
        spent_N: the share of the error that is spent by each look; the last is 1.
        levels_A: errors, ascending.

    Returns:
        The borders, AN; never smaller at a greater error.
    """
    shares_N = list(spent_N)
    order_NR = np.ascontiguousarray(np.argsort(ps_RN, axis=0).T)
    sorted_NR = np.take_along_axis(ps_RN.T, order_NR, axis=1)
    rows = [
        _borders_at(sorted_NR, order_NR, [int(share * level * len(ps_RN)) for share in shares_N]) for level in levels_A
    ]
    return np.asarray(np.minimum.accumulate(np.array(rows)[::-1], axis=0)[::-1])


def _borders_at(sorted_NR: Floats, order_NR: Ints, allowed_N: list[int]) -> list[float]:
    """Return the borders at which no more studies than allowed are decided by each look, of sorted p values."""
    is_open_R, num_decided, found = np.ones(order_NR.shape[1], dtype=bool), 0, []
    for ps_R, order_R, allowed in zip(sorted_NR, order_NR, allowed_N, strict=True):
        # Among the smallest are those that were decided before, and those that may be now.
        first = order_R[: allowed + num_decided + 1]
        places, most = np.flatnonzero(is_open_R[first]), allowed - num_decided
        if len(places) > most:
            smaller = np.searchsorted(ps_R, ps_R[places[most]])  # of equal ones all or none
            places = places[: np.searchsorted(places, smaller)]
        found.append(float(ps_R[places[-1]]) if len(places) else 0.0)
        is_open_R[first[places]] = False
        num_decided += len(places)
    return found


def _null_ps(looks: Looks, law: Law) -> Floats:
    """Return the p values of every look by itself in simulated studies in which nothing has an effect, RN."""
    generator = np.random.default_rng([_SEED, looks.first, looks.last])
    blocks = []
    for _ in range(_DRAWS // _ROWS_AT_ONCE):
        shape = (_ROWS_AT_ONCE, looks.last)
        values_RS = generator.normal(size=shape) if law == "normal" else generator.standard_exponential(shape) - 1.0
        ts_RS = running_ts(values_RS)
        blocks.append([_alone(ts_RS[:, n - 1], n, law) for n in range(looks.first, looks.last + 1)])
    return np.concatenate([np.array(block).T for block in blocks])


def running_ts(values_RS: Floats) -> Floats:
    """Return the t statistics of the first seed, the first two and so on, RS; that of the first alone is NaN."""
    numbers_S = np.arange(1.0, values_RS.shape[1] + 1)
    means_RS = values_RS.cumsum(1) / numbers_S
    squares_RS = (values_RS**2).cumsum(1) - numbers_S * means_RS**2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(means_RS / np.sqrt(squares_RS / (numbers_S - 1.0) / numbers_S))

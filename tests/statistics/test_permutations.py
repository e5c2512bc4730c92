import itertools
import math

import numpy as np
import pytest
import scipy.stats

from kd_sweep.statistics.permutations import exact_p, seeds_within_reach, smallest_p


def squares(values):
    return ((values.mean(0) - values.mean()) ** 2).sum()


@pytest.mark.parametrize("num_seeds", [3, 6, 9])
def test_two_levels_are_the_sign_flip_test_of_scipy(num_seeds):
    values = np.random.default_rng(num_seeds).normal([0.0, 0.6], size=(num_seeds, 2))
    differences = values[:, 1] - values[:, 0]
    theirs = scipy.stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert exact_p(values) == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize(("num_seeds", "num_levels"), [(2, 3), (3, 3), (2, 4)])
def test_all_orders_of_all_seeds_by_hand(num_seeds, num_levels):
    values = np.random.default_rng(num_levels).normal(size=(num_seeds, num_levels))
    orders = list(itertools.permutations(range(num_levels)))
    found = [
        squares(np.stack([row[list(order)] for row, order in zip(values, chosen, strict=True)]))
        for chosen in itertools.product(orders, repeat=num_seeds)
    ]
    assert exact_p(values) == pytest.approx(np.mean(np.array(found) >= squares(values) * (1 - 1e-9)))


@pytest.mark.parametrize(("num_seeds", "num_levels"), [(10, 3), (20, 2), (4, 9)])
def test_drawn_orders_of_nothing_are_uniform(num_seeds, num_levels):
    generator = np.random.default_rng(0)
    ps = [exact_p(generator.exponential(size=(num_seeds, num_levels))) for _ in range(60)]
    assert scipy.stats.kstest(ps, "uniform").pvalue > 0.001
    assert exact_p(np.tile(np.arange(float(num_levels)), (num_seeds, 1))) == smallest_p(num_seeds, num_levels)


@pytest.mark.parametrize(("num_seeds", "num_levels", "smallest"), [(3, 2, 1 / 4), (9, 2, 1 / 256), (3, 3, 1 / 36)])
def test_the_smallest_p_is_that_of_equal_profiles(num_seeds, num_levels, smallest):
    assert smallest_p(num_seeds, num_levels) == pytest.approx(smallest)
    assert exact_p(np.tile(np.arange(num_levels) ** 1.5, (num_seeds, 1))) == pytest.approx(smallest)


def test_seeds_within_reach():
    assert seeds_within_reach(2, 0.05) == 6
    assert seeds_within_reach(2, 0.05 / 10) == 9
    assert seeds_within_reach(3, 0.05 / 20) == 5
    assert math.factorial(3) ** -4 <= 0.05 / 20 < math.factorial(3) ** -3

import math

import numpy as np
import pytest
import scipy.stats

from kd_sweep.statistics.significance import _critical, detectable_effect, holm, normal_p, seeds_to_decide, skewed_p


def t_statistics(values):
    return values.mean(1) / (values.std(1, ddof=1) / math.sqrt(values.shape[1]))


@pytest.mark.parametrize("num_seeds", [3, 5, 30])
def test_normal_p_agrees_with_scipy(num_seeds):
    values = np.random.default_rng(num_seeds).normal(0.5, 1.0, num_seeds)
    theirs = scipy.stats.ttest_1samp(values, 0.0)
    assert normal_p(theirs.statistic, num_seeds) == pytest.approx(theirs.pvalue, rel=1e-9)


@pytest.mark.parametrize("num_seeds", [3, 5, 10])
@pytest.mark.parametrize("skewed", ["exponential", "gamma", "uniform", "normal", "mirrored"])
def test_skewed_p_holds_for_differences_up_to_an_exponential_s_skewness(num_seeds, skewed):
    """Where Student's t is wrong in up to 12 % at 5 %, and up to 3 % at 0.5 %."""
    generator, shape = np.random.default_rng(num_seeds), (20_000, num_seeds)
    values = {
        "exponential": generator.exponential(size=shape) - 1,
        "mirrored": 1 - generator.exponential(size=shape),
        "gamma": generator.gamma(4, size=shape) - 4,
        "uniform": generator.uniform(-1, 1, size=shape),
        "normal": generator.normal(size=shape),
    }[skewed]
    ts = t_statistics(values)
    ps = np.array([skewed_p(t, num_seeds) for t in ts])
    for level in (0.05, 0.005):
        wrong = np.mean(ps <= level)
        assert wrong <= level + 4 * math.sqrt(level / 20_000)
        if skewed == "exponential":
            assert wrong >= 0.7 * level
            assert np.mean([normal_p(t, num_seeds) <= level for t in ts]) > 1.8 * level


def test_skewed_p_is_never_below_that_of_normal_differences():
    for num_seeds in (3, 10, 200):
        assert all(skewed_p(t, num_seeds) >= normal_p(t, num_seeds) for t in (0.0, 0.5, -2.0, 5.0, -40.0))
        assert skewed_p(-3.0, num_seeds) == skewed_p(3.0, num_seeds)


def test_holm_by_hand():
    """Four tests: 4 · 0.01, 3 · 0.02 (not below the first), 2 · 0.03 (the same), 1 · 0.04 (not below)."""
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("effect", [0.8, 1.5, 3.0])
@pytest.mark.parametrize("level", [0.05, 0.005])
def test_that_many_seeds_decide_four_times_in_five(effect, level):
    needed = int(seeds_to_decide(effect, 1.0, level))
    generator = np.random.default_rng(needed)
    decided = np.mean([skewed_p(t, needed) <= level for t in t_statistics(generator.normal(effect, 1, (2000, needed)))])
    assert 0.77 <= decided <= 0.95
    if needed > 3:
        fewer = t_statistics(generator.normal(effect, 1, (2000, needed - 1)))
        assert np.mean([skewed_p(t, needed - 1) <= level for t in fewer]) <= 0.83


def test_seeds_to_decide_is_capped_and_needs_a_spread():
    assert seeds_to_decide(1e-6, 1.0, 0.05) == math.inf
    assert seeds_to_decide(0.0, 0.0, 0.05) == math.inf
    assert seeds_to_decide(0.1, 0.0, 0.05) == 3
    assert math.isnan(seeds_to_decide(0.1, None, 0.05))
    assert seeds_to_decide(1.0, 0.001, 0.05, at_least=8) == 8
    assert seeds_to_decide(0.3, 1.0, 0.05) < seeds_to_decide(0.3, 1.0, 0.005) <= 1000


def test_more_seeds_are_never_less_power():
    """The noncentral t distribution is out of scipy's digits for an effect of five deviations and 67 seeds."""
    assert 5 <= seeds_to_decide(5.2, 1.0, 0.0025) <= 8
    assert all(seeds_to_decide(effect, 1.0, 0.0025) <= 20 for effect in np.linspace(2, 40, 60))


@pytest.mark.parametrize(("num_seeds", "level"), [(3, 0.05), (5, 0.005), (8, 0.004), (120, 0.05)])
def test_a_detectable_effect_is_found_four_times_in_five(num_seeds, level):
    effect = detectable_effect(0.01, num_seeds, level)
    values = np.random.default_rng(num_seeds).normal(effect, 0.01, (4000, num_seeds))
    found = np.mean([skewed_p(t, num_seeds) <= level for t in t_statistics(values)])
    assert found == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("num_seeds", [3, 5, 8, 40])
def test_statsmodels_has_the_same_detectable_effect(num_seeds):
    """At the level of Student's t that the critical value for skewed differences amounts to."""
    power = pytest.importorskip("statsmodels.stats.power")
    alpha = scipy.stats.t.sf(_critical(num_seeds, 0.005), num_seeds - 1)
    theirs = power.TTestPower().solve_power(nobs=num_seeds, alpha=alpha, power=0.8, alternative="larger")
    assert detectable_effect(1.0, num_seeds, 0.005) == pytest.approx(theirs, rel=1e-6)


def test_the_seeds_that_decide_are_the_least_with_which_an_effect_is_detectable():
    for distance in (0.01, 0.02, 0.05):
        needed = int(seeds_to_decide(distance, 0.02, 0.005))
        assert detectable_effect(0.02, needed, 0.005) <= distance
        assert needed == 3 or detectable_effect(0.02, needed - 1, 0.005) > distance


def test_no_spread_and_too_few_seeds_have_no_detectable_effect():
    assert detectable_effect(None, 1, 0.05) is None
    assert detectable_effect(0.0, 5, 0.05) is None
    assert detectable_effect(0.01, 2, 0.05) is None

"""Variance components against values by hand, and against truth in simulated designs."""

import numpy as np
import pytest
from scipy import stats

from kd_sweep.statistics.variance_components import variance_components


def test_one_factor_is_the_sample_variance_with_its_chi_squared_interval():
    values = np.array([0.70, 0.72, 0.69, 0.75, 0.71])
    (found,) = variance_components(values, 0.95)
    variance = np.var(values, ddof=1)
    assert found.variance == pytest.approx(variance, rel=1e-12)
    assert found.low == pytest.approx(4 * variance / stats.chi2.ppf(0.975, 4))
    assert found.high == pytest.approx(4 * variance / stats.chi2.ppf(0.025, 4))
    assert (found.degrees, found.p) == (4, None)


def test_two_factors_by_hand():
    # Rows move by 4, columns by 1; the rest is one interaction: sums of squares 24, 1.5 and 0.75 of 3 x 2 values.
    values = np.array([[1.0, 2.0], [3.0, 4.5], [5.0, 5.5]])
    grand, rows, columns = values.mean(), values.mean(axis=1), values.mean(axis=0)
    of_rows, of_columns = 2 * ((rows - grand) ** 2).sum() / 2, 3 * ((columns - grand) ** 2).sum() / 1
    rest = ((values - rows[:, None] - columns[None, :] + grand) ** 2).sum() / 2
    found = variance_components(values, 0.95)
    expected = [(of_rows - rest) / 2, (of_columns - rest) / 3, rest]
    assert [component.variance for component in found] == pytest.approx(expected, rel=1e-12)
    assert [component.degrees for component in found] == [2, 1, 2]
    assert found[0].p == pytest.approx(stats.f.sf(of_rows / rest, 2, 2))
    assert found[2].p is None


def test_estimates_of_three_factors_are_unbiased_and_the_test_of_nothing_holds_its_level():
    generator = np.random.default_rng(0)
    truth = (0.04, 0.0, 0.01, 0.005)  # of order, initial weights, augmentation; then the rest
    made, p = [], []
    for _ in range(3000):
        effects = [
            generator.normal(0, variance**0.5, length) for variance, length in zip(truth, (4, 5, 3), strict=False)
        ]
        values = effects[0][:, None, None] + effects[1][None, :, None] + effects[2][None, None, :]
        found = variance_components(values + generator.normal(0, truth[3] ** 0.5, values.shape), 0.95)
        made.append([component.variance for component in found])
        p.append(found[1].p)
    standard_errors = np.std(made, axis=0) / len(made) ** 0.5
    assert np.abs(np.mean(made, axis=0) - truth) == pytest.approx(np.zeros(4), abs=4 * standard_errors.max())
    assert (np.abs(np.mean(made, axis=0) - truth) < 4 * standard_errors).all()
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / 3000) ** 0.5)


def test_a_factor_of_one_level_is_none():
    with pytest.raises(ValueError, match="fewer than two levels"):
        variance_components(np.zeros((3, 1)), 0.95)


def test_estimates_are_those_of_restricted_maximum_likelihood_where_all_are_above_0():
    """As `statsmodels.formula.api.mixedlm(..., vc_formula=...).fit(reml=True)` of statsmodels 0.15.0 has them."""
    generator = np.random.default_rng(1)
    rows, columns = generator.normal(0, 0.2, 6), generator.normal(0, 0.1, 5)
    found = variance_components(rows[:, None] + columns[None, :] + generator.normal(0, 0.05, (6, 5)), 0.95)
    expected = [0.022965845687651712, 0.0017392961509586071, 0.0029654245694364033]
    assert [component.variance for component in found] == pytest.approx(expected, rel=1e-4)

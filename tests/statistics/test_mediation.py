import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from kd_sweep.statistics.mediation import association, carried, correlation_to_reach

SEEDS, SETTINGS = 5, 6


def pairs(seeds=SEEDS, settings=SETTINGS, slope=0.5, noise=0.01, random_state=0):
    """A mediator that strengths move, and an outcome that follows it; seeds differ in level in both."""
    generator = np.random.default_rng(random_state)
    strengths_C = np.linspace(0.0, 1.0, settings)
    x_SC = -0.2 * strengths_C + generator.normal(0, 0.1, (seeds, 1)) + 0.02 * generator.normal(size=(seeds, settings))
    y_SC = slope * x_SC - 0.05 * strengths_C + generator.normal(0, 0.1, (seeds, 1))
    return x_SC, y_SC + noise * generator.normal(size=(seeds, settings))


def by_least_squares(x_SC, y_SC):
    """Coefficient of x beside a column for each seed and each setting, and residuals of both without it."""
    seeds, settings = x_SC.shape
    rows = [(s, c) for s in range(seeds) for c in range(settings)]
    levels = np.array(
        [[float(s == k) for k in range(seeds)] + [float(c == k) for k in range(settings)] for s, c in rows]
    )
    x, y = x_SC.ravel(), y_SC.ravel()
    slope = np.linalg.lstsq(np.column_stack([x, levels]), y, rcond=None)[0][0]
    left = [v - levels @ np.linalg.lstsq(levels, v, rcond=None)[0] for v in (x, y)]
    return slope, left


def test_the_slope_is_that_of_least_squares_with_a_level_for_each_seed_and_setting():
    x_SC, y_SC = pairs()
    found = association(x_SC, y_SC, 0.95, 0.0)
    slope, (left_x, left_y) = by_least_squares(x_SC, y_SC)
    assert found.slope.value == pytest.approx(slope, rel=1e-9)
    assert found.correlation == pytest.approx(scipy.stats.pearsonr(left_x, left_y).statistic, rel=1e-9)
    assert found.scale == pytest.approx(left_y.std() / left_x.std(), rel=1e-9)


def test_its_error_is_the_jackknife_s_of_refits_without_each_seed():
    x_SC, y_SC = pairs()
    found = association(x_SC, y_SC, 0.9, 0.0)
    without = np.array([by_least_squares(np.delete(x_SC, s, 0), np.delete(y_SC, s, 0))[0] for s in range(SEEDS)])
    error = np.sqrt((SEEDS - 1) / SEEDS * ((without - without.mean()) ** 2).sum())
    half = scipy.stats.t.ppf(0.95, SEEDS - 1) * error
    assert found.slope.std == pytest.approx(error * np.sqrt(SEEDS), rel=1e-9)
    assert found.t == pytest.approx(found.slope.value / error, rel=1e-9)
    assert (found.slope.t_interval.low, found.slope.t_interval.high) == pytest.approx(
        (found.slope.value - half, found.slope.value + half), rel=1e-9
    )


def test_statsmodels_has_the_same_slope_and_the_same_partial_effect():
    formula = pytest.importorskip("statsmodels.formula.api")
    import pandas as pd

    x_SC, y_SC = pairs()
    seeds, settings = np.indices(x_SC.shape)
    frame = pd.DataFrame({"x": x_SC.ravel(), "y": y_SC.ravel(), "seed": seeds.ravel(), "setting": settings.ravel()})
    with_mediator = formula.ols("y ~ x + C(seed) + C(setting)", frame).fit()
    without, on_mediator = (formula.ols(f"{v} ~ C(seed) + C(setting)", frame).fit() for v in "yx")
    link = association(x_SC, y_SC, 0.95, 0.0)
    part = carried(x_SC[:, -1] - x_SC[:, 0], y_SC[:, -1] - y_SC[:, 0], link, 0.95)
    last = f"C(setting)[T.{SETTINGS - 1}]"
    assert link.slope.value == pytest.approx(with_mediator.params["x"], abs=1e-6)
    assert part.value == pytest.approx(on_mediator.params[last] * with_mediator.params["x"], abs=1e-6)
    assert part.value == pytest.approx(without.params[last] - with_mediator.params[last], abs=1e-6)
    assert part.share == pytest.approx(1 - with_mediator.params[last] / without.params[last], abs=1e-6)


def test_what_differs_between_settings_or_seeds_is_no_association():
    """Strength moves both, seeds differ in both, and they have nothing else to do with each other."""
    slopes = [association(*pairs(slope=0.0, random_state=k), 0.95, 0.0).slope for k in range(400)]
    inside = np.mean([slope.t_interval.low <= 0.0 <= slope.t_interval.high for slope in slopes])
    assert abs(np.mean([slope.value for slope in slopes])) < 0.02
    assert inside >= 0.92


@pytest.mark.parametrize("slope", [0.0, 0.5])
@pytest.mark.parametrize("seeds", [3, 8])
def test_intervals_of_what_is_carried_hold_the_truth(slope, seeds):
    held, shares = [], []
    for k in range(300):
        x_SC, y_SC = pairs(seeds, slope=slope, random_state=k)
        link = association(x_SC, y_SC, 0.95, 0.0)
        part = carried(x_SC[:, -1] - x_SC[:, 0], y_SC[:, -1] - y_SC[:, 0], link, 0.95)
        held.append(part.interval.low <= -0.2 * slope <= part.interval.high)
        if part.share_interval:
            truth = 0.2 * slope / (0.2 * slope + 0.05)
            shares.append(part.share_interval.low <= truth <= part.share_interval.high)
    assert np.mean(held) >= 0.92
    assert np.mean(shares) >= 0.92
    assert len(shares) > 100


def test_the_interval_of_a_product_is_that_of_two_t_distributions():
    """By numeric integration: P(A·B ≤ q) over A of the cumulative distribution of B."""
    x_SC, y_SC = pairs()
    link = association(x_SC, y_SC, 0.95, 0.0)
    effect_S = x_SC[:, -1] - x_SC[:, 0]
    part = carried(effect_S, y_SC[:, -1] - y_SC[:, 0], link, 0.95)
    on_mediator = scipy.stats.t(SEEDS - 1, effect_S.mean(), effect_S.std(ddof=1) / np.sqrt(SEEDS))
    slope = scipy.stats.t(SEEDS - 1, link.slope.value, link.slope.std / np.sqrt(SEEDS))
    for quantile, level in ((part.interval.low, 0.025), (part.interval.high, 0.975)):

        def below(a, quantile=quantile):
            chance = slope.cdf(quantile / a) if a > 0 else slope.sf(quantile / a)
            return on_mediator.pdf(a) * chance

        found = sum(scipy.integrate.quad(below, *ends, limit=200)[0] for ends in ((-3, -1e-9), (1e-9, 3)))
        assert found == pytest.approx(level, abs=0.004)


@pytest.mark.parametrize("hidden", [0.2, 0.6])
def test_a_hidden_cause_of_the_share_that_is_named_makes_a_slope_of_nothing(hidden):
    """It explains this share of what is left of both, which have nothing else to do with each other."""
    generator = np.random.default_rng(3)
    cause, *own = generator.normal(size=(3, 40, 200))
    x_SC, y_SC = (np.sqrt(hidden) * cause + np.sqrt(1 - hidden) * part for part in own)
    link = association(x_SC, 3.0 * y_SC, 0.95, 0.0)
    assert correlation_to_reach(link, 0.0) == pytest.approx(hidden, abs=0.03)


def test_errors_that_correlate_turn_a_true_slope_into_the_apparent_one():
    """Imai's formula, solved for the correlation at which the slope is the true one."""
    generator = np.random.default_rng(4)
    error_x, other = generator.normal(size=(2, 40, 400))
    error_y = 0.5 * error_x + np.sqrt(0.75) * other
    link = association(error_x, 0.3 * error_x + error_y, 0.95, 0.0)
    assert link.slope.value == pytest.approx(0.8, abs=0.02)
    assert correlation_to_reach(link, 0.3) == pytest.approx(0.5, abs=0.02)
    assert correlation_to_reach(link, 0.9) == 0.0
    opposite = association(error_x, -0.3 * error_x - error_y, 0.95, 0.0)
    assert correlation_to_reach(opposite, 0.3) == pytest.approx(-0.5, abs=0.02)


def test_nothing_to_go_by_is_no_number():
    x_SC, y_SC = pairs()
    assert association(np.tile(x_SC[:1], (SEEDS, 1)), y_SC, 0.95, 0.0) is None
    assert association(np.full_like(x_SC, 0.3), y_SC, 0.95, 0.0) is None
    constant = association(x_SC, np.full_like(y_SC, 0.7), 0.95, 0.0)
    assert (constant.slope.value, constant.correlation, constant.t, constant.slope.t_interval) == (0.0, 0.0, None, None)
    assert correlation_to_reach(constant, 0.0) == 0.0
    assert association(x_SC[:3, :2], y_SC[:3, :2], 0.95, 0.0).t is None
    assert association(x_SC[:4, :2], y_SC[:4, :2], 0.95, 0.0).t is not None
    two = association(x_SC[:2], y_SC[:2], 0.95, 0.0)
    assert (two.t, two.slope.std, two.slope.t_interval) == (None, None, None)
    assert carried(x_SC[:2, 0], y_SC[:2, 0], two, 0.95).interval is None
    exact = association(x_SC, 2.0 * x_SC, 0.95, 0.0)
    assert exact.slope.value == pytest.approx(2.0)
    assert exact.correlation == pytest.approx(1.0)
    assert exact.t is None


def test_no_error_is_below_what_rounding_to_images_hides():
    x_SC, y_SC = pairs(noise=0.0)
    assert association(x_SC, y_SC, 0.95, 0.0).t is None
    left = x_SC - x_SC.mean(1, keepdims=True) - x_SC.mean(0, keepdims=True) + x_SC.mean()
    found = association(x_SC, y_SC, 0.95, 0.01)
    assert found.slope.std == pytest.approx(0.01 / np.sqrt(12) / np.sqrt((left**2).sum()) * np.sqrt(SEEDS))


def test_a_share_is_given_of_an_effect_that_is_sure():
    x_SC, y_SC = pairs()
    link = association(x_SC, y_SC, 0.95, 0.0)
    unsure = carried(x_SC[:, -1] - x_SC[:, 0], np.array([-0.1, 0.1, 0.05, -0.06, 0.0]), link, 0.95)
    assert (unsure.share, unsure.share_interval) == (None, None)
    assert unsure.interval is not None

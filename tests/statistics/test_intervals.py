import math
import statistics

import numpy as np
import pytest
import scipy.stats

from kd_sweep.statistics.intervals import Bootstrap, cluster_counts, tail_level

QUICK = Bootstrap(resamples=2000)


def test_estimate_agrees_with_scipy():
    values = np.random.default_rng(1).normal(0.3, 0.1, 12)
    estimate = Bootstrap().estimate(values)
    level = tail_level(12, 0.95)
    theirs = scipy.stats.bootstrap(
        (values,), np.mean, confidence_level=1 - 2 * level, n_resamples=50_000, method="percentile", rng=7
    ).confidence_interval
    spread = values.std(ddof=1) / math.sqrt(12)
    assert estimate.interval.low == pytest.approx(theirs.low, abs=0.15 * spread)
    assert estimate.interval.high == pytest.approx(theirs.high, abs=0.15 * spread)
    by_t = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (estimate.t_interval.low, estimate.t_interval.high) == pytest.approx((by_t.low, by_t.high), rel=1e-12)
    assert estimate.std == pytest.approx(statistics.stdev(values), rel=1e-12)
    assert estimate.value == pytest.approx(statistics.fmean(values), rel=1e-12)


@pytest.mark.parametrize("num_seeds", [5, 8, 20])
def test_intervals_of_null_data_cover_zero_as_often_as_they_say(num_seeds):
    generator = np.random.default_rng(num_seeds)
    estimates = [QUICK.estimate(generator.normal(size=num_seeds)) for _ in range(1500)]
    for found_ones in ([e.interval for e in estimates], [e.t_interval for e in estimates]):
        covered = np.mean([found.low <= 0.0 <= found.high for found in found_ones])
        assert 0.90 <= covered <= 0.99


@pytest.mark.parametrize("num_seeds", [3, 4])
def test_bootstrap_of_few_seeds_covers_no_more_than_is_said_of_it(num_seeds):
    generator = np.random.default_rng(num_seeds)
    found_ones = [QUICK.estimate(generator.normal(size=num_seeds)).interval for _ in range(600)]
    covered = np.mean([found.low <= 0.0 <= found.high for found in found_ones])
    limit = QUICK.coverage_limit(num_seeds)
    assert limit == {3: 0.75, 4: 0.875}[num_seeds]
    assert covered == pytest.approx(limit, abs=0.05)


def test_no_limit_is_named_where_coverage_reaches_the_confidence():
    assert Bootstrap(0.95).coverage_limit(6) is None
    assert Bootstrap(0.99).coverage_limit(6) == 1 - 2 / 64


def test_fewer_than_three_seeds_have_no_interval():
    two = QUICK.estimate(np.array([0.1, 0.3]))
    assert (two.interval, two.t_interval, two.num_clusters) == (None, None, 2)
    assert two.std == pytest.approx(math.sqrt(0.02))
    one = QUICK.estimate(np.array([0.1]))
    assert (one.value, one.std, one.interval, one.t_interval) == (0.1, None, None, None)


def test_values_that_agree_in_every_digit_show_no_spread_and_have_no_interval():
    estimate = QUICK.estimate(np.full(4, 0.25))
    assert (estimate.value, estimate.interval, estimate.t_interval) == (0.25, None, None)


def test_no_interval_is_shorter_than_the_resolution_allows():
    """Three seeds that each gain one image of 360: a spread of half an image would not have been seen."""
    least_std = math.sqrt(2 / 12) / 360
    estimate = QUICK.estimate(np.full(3, 1 / 360), least_std)
    half = scipy.stats.t.ppf(0.975, 2) * least_std / math.sqrt(3)
    for found in (estimate.interval, estimate.t_interval):
        assert (found.low, found.high) == pytest.approx((1 / 360 - half, 1 / 360 + half))
    wide = np.array([0.1, 0.2, 0.4])
    assert QUICK.estimate(wide, least_std) == QUICK.estimate(wide)


@pytest.mark.parametrize("num_seeds", [3, 5, 8, 9, 30, 70])
@pytest.mark.parametrize("step", [0.0, 0.5])
def test_percentiles_are_those_of_all_resamples_written_out(num_seeds, step):
    values = np.random.default_rng(num_seeds).normal(size=num_seeds)
    values = np.round(values / step) * step if step else values  # many resamples have one mean
    counts, repeats = cluster_counts(num_seeds, 2000)
    level = tail_level(num_seeds, 0.95)
    theirs = np.quantile(np.repeat(counts @ values / num_seeds, repeats), [level, 1 - level])
    found = QUICK.estimate(values).interval
    assert (found.low, found.high) == pytest.approx(tuple(theirs), abs=1e-11)


def test_same_data_give_the_same_interval_whatever_came_before():
    values = np.random.default_rng(3).normal(size=7)
    first = QUICK.estimate(values)
    QUICK.estimate(np.arange(11.0))
    assert Bootstrap(resamples=2000).estimate(values) == first


def test_many_samples_have_the_intervals_that_each_has_alone():
    generator = np.random.default_rng(8)
    samples = [(generator.normal(0.7, 0.01, size), least) for size in (2, 4, 9, 40) for least in (0.0, 0.02) * 20]
    samples += [(np.round(values, 2), least) for values, least in samples]
    samples.append((np.full(9, 0.25), 0.0))
    assert QUICK.estimates(samples) == [QUICK.estimate(*sample) for sample in samples]


def test_wider_confidence_gives_a_wider_interval():
    values = np.random.default_rng(3).normal(size=9)
    ends = [Bootstrap(confidence, 5000).estimate(values).interval for confidence in (0.5, 0.9, 0.99)]
    assert ends[2].low < ends[1].low < ends[0].low < ends[0].high < ends[1].high < ends[2].high


@pytest.mark.parametrize("num_clusters", [3, 5, 8, 9, 30])
def test_resamples_are_draws_with_replacement(num_clusters):
    counts, repeats = cluster_counts(num_clusters, 4000)
    assert (counts.sum(axis=1) == num_clusters).all()
    assert repeats.sum() == 4000
    drawn = np.average(counts == 0, axis=0, weights=repeats)
    assert drawn == pytest.approx([(1 - 1 / num_clusters) ** num_clusters] * num_clusters, abs=0.04)


def test_few_clusters_have_few_different_resamples():
    counts, _ = cluster_counts(5, 10_000)
    assert len(counts) == math.comb(9, 4) == len(np.unique(counts, axis=0))

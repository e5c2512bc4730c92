"""How often verdicts are wrong or found where seeds are added; docs/statistics.md has more of the same."""

import numpy as np
import pytest

from kd_sweep.study.repeat_seeds import AdaptiveSeeds
from tests.analysis.adaptive_rates import (
    ACCURACY,
    SPREAD,
    ever_called,
    false_verdicts,
    found,
    found_by_statistics,
    run,
    seeds_for,
)
from tests.analysis.error_rates import OUTCOMES, most_of, normal


@pytest.mark.parametrize("most", [5, 8])
@pytest.mark.parametrize(
    ("noise", "runs"),
    [("normal", 20), ("exponential differences", 20), pytest.param("exponential", 400, marks=pytest.mark.long)],
)
def test_a_study_of_nothing_rarely_gets_any_verdict(noise: str, runs: int, most: int) -> None:
    rate, num_seeds = false_verdicts(noise, runs, 2, AdaptiveSeeds(min=3, max=most))
    assert rate <= most_of(runs, 0.05)
    assert 3 <= num_seeds < (most + 3) / 2 + 0.5


@pytest.mark.parametrize("strengths", [2, 3])
@pytest.mark.parametrize("noise", ["normal", "shares of 360 images", "exponential differences"])
def test_whenever_a_study_ends_it_is_rarely_wrong(noise: str, strengths: int) -> None:
    """Ten outcomes, their curvature at three strengths, and the links of the chain, at six looks."""
    assert ever_called(noise, 1000, strengths, AdaptiveSeeds(min=3, max=8)) <= most_of(1000, 0.05)


def test_a_strong_effect_takes_half_the_seeds_of_a_fixed_number_that_finds_a_weaker_one() -> None:
    seeds = AdaptiveSeeds(min=3, max=16)
    strong = found(8.0, 10, seeds)
    quick = found_by_statistics(8.0, 400, seeds)
    assert quick.power == 1.0
    assert quick.num_seeds == pytest.approx(strong.num_seeds, abs=0.8)
    assert strong.power == 1.0
    assert strong.num_seeds <= 9.0
    assert strong.effect == pytest.approx(1.0, abs=0.1)


def test_other_outcomes_do_not_add_seeds() -> None:
    values = 0.5 + normal(np.random.default_rng(3), (len(OUTCOMES), 8, 2, 1))
    values[0, :, 1] += 6.5 * SPREAD  # attention, which may take all eight
    values[-1, :, 1] += 30 * SPREAD
    alone = run(values, AdaptiveSeeds(min=3, max=8, outcomes=(ACCURACY,)))
    assert alone.num_seeds < run(values, AdaptiveSeeds(min=3, max=8)).num_seeds
    assert alone.accuracy.answer == "supported"


def test_seeds_for_a_power_lie_between_those_known() -> None:
    powers = {6: 0.0, 8: 0.2, 10: 0.4, 12: 1.0, 14: 1.0}
    assert seeds_for(0.7, powers) == pytest.approx(11.0)
    assert seeds_for(1.0, powers) == 12

"""How often what was planted is found, and intervals hold it; docs/statistics.md has more of the same."""

import pytest

from kd_sweep.statistics.significance import detectable_effect
from tests.analysis.planted_rates import LEVEL, chain_coverage, equivalence, interaction_coverage, power

SEEDS = pytest.mark.parametrize("seeds", [3, 5, 8])


@SEEDS
def test_a_detectable_effect_is_seen_in_four_studies_of_five(seeds):
    assert power(4000, seeds, detectable_effect(1.0, seeds, LEVEL))[0] == pytest.approx(0.8, abs=0.03)
    assert power(4000, seeds, 0.0)[0] <= 2 * LEVEL


@SEEDS
@pytest.mark.parametrize("noise", ["normal", "exponential"])
def test_a_change_as_large_as_the_margin_is_seldom_called_anything(seeds, noise):
    at_margin = equivalence(10_000, seeds, 1.0, 0.1, noise)
    assert at_margin["equivalent"] + at_margin["not equivalent"] <= 2 * LEVEL
    assert equivalence(2000, seeds, 0.0, 0.1, noise)["not equivalent"] == 0.0
    assert equivalence(2000, seeds, 2.0, 0.1, noise)["equivalent"] == 0.0
    assert seeds < 5 or equivalence(2000, seeds, 0.0, 0.1, noise)["equivalent"] > 0.85


@SEEDS
@pytest.mark.parametrize(("moves", "slope"), [(-0.1, 0.5), (-0.1, 0.0), (0.0, 0.5), (0.0, 0.0)])
def test_intervals_of_the_chain_hold_what_was_planted(seeds, moves, slope):
    found = chain_coverage(150, seeds, 2, moves, slope)
    assert min(found["slope"], found["carried"]) >= 0.9
    assert found.get("share", 1.0) >= 0.9
    assert moves * slope != 0.0 or found["both links"] <= 0.08


@SEEDS
def test_intervals_of_interactions_hold_what_was_planted(seeds):
    assert interaction_coverage(150, seeds, 0.1) >= 0.88

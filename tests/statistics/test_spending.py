"""Alpha spending: published borders, errors in studies that no border was drawn from, what repeated looks bear."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from kd_sweep.statistics.significance import normal_p, skewed_p
from kd_sweep.statistics.spending import NORMAL, STRICT, Looks, Seen, borders, repeated_p, running_ts

LOOKS = Looks(3, 8)


def o_brien_fleming(share: float) -> float:
    """Lan and DeMets' spending of 0.05, as gsDesign's `sfLDOF` of 0.025 on each side."""
    return float(4.0 * norm.sf(norm.isf(0.0125) / math.sqrt(share)))


def pocock(share: float) -> float:
    return 0.05 * math.log(1.0 + (math.e - 1.0) * share)


@pytest.mark.parametrize(
    ("spending", "published"),
    [
        (o_brien_fleming, (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),
        (pocock, (2.4380, 2.4268, 2.4101, 2.3966, 2.3859)),
    ],
)
def test_borders_of_five_looks_at_normal_statistics_are_those_of_the_books(spending, published):
    """gsDesign 3.6: gsDesign(k=5, test.type=2, alpha=0.025, sfu=sfLDOF), and sfLDPocock."""
    generator = np.random.default_rng(1)
    zs = generator.normal(size=(400_000, 5)).cumsum(1) / np.sqrt(np.arange(1, 6))
    found = borders(2.0 * norm.sf(abs(zs)), [spending(look / 5) / 0.05 for look in range(1, 6)], [0.05])
    # Of the first look one study in a million is decided: there are none among these.
    assert norm.isf(found[0, 1:] / 2.0) == pytest.approx(published[1:], abs=0.03)
    assert found[0, 0] <= 2.0 * norm.sf(published[0]) or spending is pocock


def test_the_share_that_is_spent_by_hand():
    """(n / 8)³: 27, 64, 125, 216, 343, 512 of 512."""
    assert [LOOKS.spent(n) * 512 for n in range(2, 10)] == [0, 27, 64, 125, 216, 343, 512, 512]
    assert (LOOKS.number(3), LOOKS.number(8), LOOKS.num_looks) == (1, 6, 6)


def ended(ts_RS: np.ndarray, looks: Looks, laws: tuple) -> np.ndarray:
    """Return the repeated p of each study after each look."""
    studies = ([Seen(n, float(ts[n - 1])) for n in range(looks.first, looks.last + 1)] for ts in ts_RS)
    return np.array([[repeated_p(seen[: k + 1], looks, laws) for k in range(len(seen))] for seen in studies])


@pytest.mark.parametrize("law", ["normal", "exponential"])
def test_whoever_looks_after_every_seed_is_wrong_as_often_as_he_says(law):
    """With draws of another generator. Without a correction a t test at 5 % is wrong in 14 %."""
    generator, runs = np.random.Generator(np.random.MT19937(7)), 2_000
    shape = (runs, 8)
    values = generator.normal(size=shape) if law == "normal" else generator.exponential(size=shape) - 1.0
    ts_RS = running_ts(values)
    least = ended(ts_RS, LOOKS, (law,)).min(1)
    for level in (0.2, 0.05):
        wrong = float((least <= level).mean())
        assert level - 4 * math.sqrt(level / runs) <= wrong <= level + 3 * math.sqrt(level / runs), level
    assert (ended(ts_RS[:250], LOOKS, STRICT).min(1) >= least[:250]).all()
    alone = np.mean([min(normal_p(t, n) for n, t in enumerate(ts, 1) if n >= 3) <= 0.05 for ts in ts_RS])
    assert alone > 0.1


def test_running_ts_are_those_of_each_beginning():
    values = np.random.default_rng(2).normal(1.0, 1.0, (5, 6))
    for n in (2, 4, 6):
        expected = values[:, :n].mean(1) / (values[:, :n].std(1, ddof=1) / math.sqrt(n))
        assert running_ts(values)[:, n - 1] == pytest.approx(expected, rel=1e-9)


def test_looks_that_are_left_out_or_doubled_decide_nothing_more():
    seen = [Seen(3, 9.0), Seen(4, 8.0), Seen(5, 12.0), Seen(6, 14.0)]
    p = repeated_p(seen, LOOKS)
    assert repeated_p([*seen[:3], seen[2], seen[3]], LOOKS) == p  # a seed that lacks a trial adds nothing
    assert all(repeated_p([one for one in seen if one is not left], LOOKS) >= p for left in seen)
    assert repeated_p([*seen, Seen(7, 2.0)], LOOKS) == p  # what was decided is
    assert repeated_p([*seen, Seen(7, -0.1)], LOOKS) == 1.0  # but for an effect that has turned
    assert repeated_p([Seen(2, 99.0), Seen(9, 99.0)], LOOKS) == 1.0  # no looks of this study


def test_a_look_costs_something_and_more_of_them_cost_more():
    for n, t in ((5, 12.0), (8, 9.0)):
        once = skewed_p(t, n)
        few, many = (repeated_p([Seen(n, t)], Looks(3, most)) for most in (8, 16))
        assert once < few < many
    assert repeated_p([Seen(8, 9.0)], LOOKS, NORMAL) > normal_p(9.0, 8)


def test_an_exact_test_that_is_larger_counts():
    assert repeated_p([Seen(8, 50.0, exact=1.0)], LOOKS) == 1.0
    assert repeated_p([Seen(8, 50.0, exact=0.01)], LOOKS) > repeated_p([Seen(8, 50.0)], LOOKS)


def test_a_level_is_where_a_look_decides():
    for n in (3, 5, 8):
        border = LOOKS.level(n, 0.05)
        assert 0.0 < border < 0.05
        t = next(t for t in np.geomspace(0.1, 1e4, 20_000) if skewed_p(float(t), n) <= border)
        assert repeated_p([Seen(n, float(t))], LOOKS) <= 0.05 * 1.05
        assert repeated_p([Seen(n, 0.9 * float(t))], LOOKS) > 0.05 * 0.9

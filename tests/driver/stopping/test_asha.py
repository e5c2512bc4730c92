"""Successive halving against Ray's own, and by hand."""

import math

import pytest

from kd_sweep.driver.stopping.history import History
from kd_sweep.driver.stopping.rules.asha import Asha
from kd_sweep.driver.stopping.rungs import rung_epochs
from tests.driver.stopping.rays_asha import RaysAsha
from tests.driver.stopping.simulated import curves, num_stopped_alike


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("grace_period", "factor", "longest"), [(1, 2, 9), (2, 3, 20), (1, 1.5, 12), (3, 2.5, 30)])
def test_it_decides_as_rays_asha(grace_period: int, factor: float, longest: int, ties: bool) -> None:
    rule = Asha(rung_epochs(grace_period, factor, longest), factor)
    num_stopped = sum(
        num_stopped_alike(seed, curves(seed, 20, longest, ties=ties), rule, RaysAsha(grace_period, factor, longest))
        for seed in range(25)
    )
    assert 100 < num_stopped < 450


@pytest.mark.parametrize("factor", [1.5, 1.7, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("grace_period", [1, 2, 5])
def test_rungs_are_a_factor_apart_and_before_the_last_epoch(grace_period: int, factor: float) -> None:
    rungs = rung_epochs(grace_period, factor, 60)
    assert list(rungs) == [math.ceil(grace_period * factor**k) for k in range(len(rungs))]
    assert rungs[-1] < 60 <= math.ceil(grace_period * factor ** len(rungs))
    assert len(set(rungs)) == len(rungs)


def test_by_hand() -> None:
    """Rung 1, factor 2: the cutoff is the median of those before."""
    rule, history = Asha((1, 2), 2.0), History()
    table = [
        ("a", 1, 0.5, False),  # the first
        ("b", 1, 0.4, True),  # below 0.5
        ("c", 1, 0.45, False),  # the median of 0.5 and 0.4
        ("d", 1, 0.44, True),  # below 0.45, the median of three
        ("a", 2, 0.1, False),  # the first at the second rung
        ("c", 2, 0.1, False),  # equal
        ("a", 3, 0.0, False),  # no rung
    ]
    for trial, epoch, value, stops in table:
        history.add(trial, epoch, (value,))
        assert rule.stops(history, trial) == stops, (trial, epoch)


def test_what_has_no_value_is_not_judged_and_does_not_count() -> None:
    rule, history = Asha((1, 2), 2.0), History()
    history.add("a", 1, None)
    assert not rule.stops(history, "a")
    history.add("b", 1, (0.1,))
    assert not rule.stops(history, "b")  # alone at the rung


def test_one_trial_runs_to_its_end() -> None:
    rule, history = Asha((1, 2, 4), 2.0), History()
    for epoch in range(1, 9):
        history.add("a", epoch, (-float(epoch),))
        assert not rule.stops(history, "a")

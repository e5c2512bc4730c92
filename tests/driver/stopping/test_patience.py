"""The patience rule by hand."""

from itertools import accumulate

import pytest

from kd_sweep.driver.stopping.history import History
from kd_sweep.driver.stopping.rules.patience import Patience
from tests.driver.stopping.simulated import curves


def stopped_at(rule: Patience, values: list[float | None]) -> int | None:
    """Return the epoch at which a trial with these values ends."""
    history = History()
    for epoch, value in enumerate(values, start=1):
        history.add("a", epoch, None if value is None else (value,))
        if rule.stops(history, "a"):
            return epoch
    return None


@pytest.mark.parametrize(
    ("grace_period", "patience", "min_delta", "values", "expected"),
    [
        (1, 2, 0.0, [0.1, 0.2, 0.2, 0.2, 0.9], 4),  # equal is no improvement
        (1, 2, 0.0, [0.1, 0.2, 0.1, 0.3, 0.2, 0.2, 0.2], 6),
        (1, 1, 0.0, [0.5, 0.4, 0.9], 2),
        (1, 3, 0.0, [0.1, 0.2, 0.3, 0.4, 0.5], None),
        (5, 2, 0.0, [0.5, 0.4, 0.4, 0.4, 0.4, 0.4], 5),  # not before the grace period
        (5, 2, 0.0, [0.5, 0.4, 0.4, 0.4, 0.6, 0.4, 0.4], 7),
        (1, 2, 0.25, [0.0, 0.25, 0.25, 0.5], 3),  # an improvement is more than min_delta
        (1, 2, 0.25, [0.0, 0.125, 0.375, 0.5, 0.75, 0.875], None),  # above the last improvement, not the last value
        (1, 2, 0.0, [-3.0, -2.0, -2.5, -2.5], 4),  # a minimised metric comes with its sign turned
        (1, 2, 0.0, [None, None, None, 0.5, None, 0.4, 0.9], 6),  # nothing to improve on, then no improvement
        (1, 2, 0.0, [0.5], None),
    ],
)
def test_by_hand(
    grace_period: int, patience: int, min_delta: float, values: list[float | None], expected: int | None
) -> None:
    assert stopped_at(Patience(grace_period, patience, min_delta), values) == expected


@pytest.mark.parametrize("patience", [1, 2, 3, 5])
def test_without_min_delta_it_waits_for_a_new_maximum(patience: int) -> None:
    """Against running maxima: a trial ends where the maximum is as it was `patience` epochs before."""
    stops = []
    for trial, scores in curves(0, 100, 15, ties=True).items():
        values = [score[0] for score in scores]
        best = list(accumulate(values, max))
        expected = next((i + 1 for i in range(patience, len(best)) if best[i] == best[i - patience]), None)
        assert stopped_at(Patience(1, patience, 0.0), list(values)) == expected, trial
        stops.append(expected)
    assert len(set(stops)) > 3


def test_other_trials_change_nothing() -> None:
    history, rule = History(), Patience(1, 1, 0.0)
    history.add("a", 1, (0.1,))
    history.add("b", 1, (0.9,))
    history.add("a", 2, (0.2,))
    assert not rule.stops(history, "a")

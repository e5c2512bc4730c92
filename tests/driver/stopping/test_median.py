"""Median stopping against Ray's own, and by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.tune.schedulers import MedianStoppingRule

from kd_sweep.driver.stopping.history import History, Scores
from kd_sweep.driver.stopping.rules.median import Median
from tests.driver.stopping.simulated import curves, num_stopped_alike


class Name(str):
    """What Ray's rule needs of a trial: to be a key."""

    trial_id = property(str)


class RaysMedian:
    """Ray's scheduler, told of epochs in the same way; no trial waits for a slot."""

    def __init__(self, grace_period: int, min_trials: int) -> None:
        settings: dict[str, Any] = {"grace_period": grace_period, "min_samples_required": min_trials}
        self._scheduler = MedianStoppingRule(time_attr="epoch", metric="score", mode="max", **settings)
        self._controller = SimpleNamespace(get_live_trials=list)

    def stops(self, trial_id: str, epoch: int, scores: Scores) -> bool:
        """Report an epoch and return Ray's decision."""
        result = {"epoch": epoch, "score": scores[0]}
        return self._scheduler.on_trial_result(self._controller, Name(trial_id), result) == self._scheduler.STOP


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("grace_period", "min_trials"), [(1, 3), (3, 1), (4, 6)])
def test_it_decides_as_rays_median_rule(grace_period: int, min_trials: int, ties: bool) -> None:
    num_stopped = sum(
        num_stopped_alike(
            seed, curves(seed, 20, 8, ties=ties), Median(grace_period, min_trials), RaysMedian(grace_period, min_trials)
        )
        for seed in range(20)
    )
    assert 40 < num_stopped < 300


def test_by_hand() -> None:
    """Grace period 2, two others: running means are over epochs 2 and later, the best over all."""
    rule, history = Median(2, 2), History()
    table = [
        ("a", 1, 0.9, False),
        ("a", 2, 0.5, False),
        ("b", 1, 0.1, False),
        ("b", 2, 0.7, False),  # one other
        ("c", 1, 0.6, False),  # before the grace period
        ("c", 2, 0.1, False),  # its best, 0.6, is the median of 0.5 and 0.7
        ("d", 1, 0.0, False),
        ("d", 2, 0.45, True),  # below 0.5, the median of 0.5, 0.7 and 0.1
        ("a", 3, 0.7, False),  # nobody else is there
        ("b", 3, 0.1, False),  # one other
        ("c", 3, 0.1, False),  # its best, 0.6, is above (0.6 + 0.4) / 2, of the means of a and b
    ]
    for trial, epoch, value, stops in table:
        history.add(trial, epoch, (value,))
        assert rule.stops(history, trial) == stops, (trial, epoch)


def test_trials_that_are_all_alike_go_on() -> None:
    """The sum of three times 0.1 is above 0.3 in floating point: no trial may stop for that."""
    rule, history = Median(1, 1), History()
    for trial in "abcd":
        for epoch in range(1, 30):
            history.add(trial, epoch, (0.1,))
            assert not rule.stops(history, trial)


def test_epochs_without_a_value_do_not_count() -> None:
    rule, history = Median(1, 1), History()
    for epoch, value in enumerate([0.4, None, 0.8], start=1):
        history.add("a", epoch, None if value is None else (value,))
    for epoch, value in enumerate([0.55, None, 0.1], start=1):
        history.add("b", epoch, None if value is None else (value,))
        assert rule.stops(history, "b") == (epoch == 3)  # below 0.6, the mean of 0.4 and 0.8


def test_means_are_those_of_numpy_however_often_they_are_asked_for() -> None:
    trials, history = curves(3, 10, 12, ties=False), History()
    trials = {trial: scores for trial, scores in trials.items() if len(scores) == 12}
    assert len(trials) > 4
    for trial, scores in trials.items():
        for epoch, score in enumerate(scores, start=1):
            history.add(trial, epoch, score)
        for last in (4, 9, 12):
            expected = {other: np.mean([score[0] for score in trials[other][3 - 1 : last]]) for other in trials}
            means = history.means(3, last)
            assert means == pytest.approx({other: expected[other] for other in means})
            assert list(means) == [other for other in trials if other <= trial]

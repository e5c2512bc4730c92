"""Which trials come one after another, and which share a process."""

import pytest

from kd_sweep.driver.tune import trial_sources
from kd_sweep.driver.tune.trial_sources import beside_each_other
from kd_sweep.study.spec import Resources
from tests.distill.trials import tiny_trial


def test_trials_of_one_stream_come_together_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [(size, seed) for size in (1, 2, 3) for seed in (0, 1)]
    trials = {point: tiny_trial(ensemble_size=point[0], seed=point[1]) for point in points}
    found = [next(point for point in points if trials[point] is trial) for trial in beside_each_other(trials.values())]
    assert found == [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (3, 1)]
    monkeypatch.setattr(trial_sources, "LOOKED_AHEAD", 4)
    found = [next(point for point in points if trials[point] is trial) for trial in beside_each_other(trials.values())]
    assert found == [(1, 0), (2, 0), (1, 1), (2, 1), (3, 0), (3, 1)]


@pytest.mark.parametrize(
    ("resources", "slots", "processes"),
    [
        (Resources(), 8, 8),
        (Resources(lock_step=True), 8, 1),
        (Resources(gpus=0.25, lock_step=True), 8, 2),
        (Resources(gpus=0.25, lock_step=True), 2, 1),
    ],
)
def test_students_of_a_gpu_or_of_a_machine_without_are_in_one_process(
    resources: Resources, slots: int, processes: int
) -> None:
    assert resources.num_processes(slots) == processes

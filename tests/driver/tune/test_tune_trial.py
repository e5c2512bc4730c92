"""Tune's own trials have what a sweep uses of them, and the results of a trial come out of Tune's as they went in."""

from pathlib import Path

import pytest
import ray
from ray.tune.experiment import Trial
from ray.tune.result import NODE_IP
from ray.tune.utils import flatten_dict

from kd_sweep.driver.tune.tune_trial import (
    KeptResults,
    TuneTrial,
    assignment_in,
    forget_results,
    message_in,
    reports_in,
    result_of,
    study_trial_id,
)
from kd_sweep.driver.worker_messages import EpochDone, EpochsInCheckpoint, Message, TrialFailed
from tests.distill.trials import tiny_trial
from tests.driver.reports import report_of
from tests.driver.tune.fake_trial import fake_trial

ATTRIBUTES = ("trial_id", "config", "max_failures", "run_metadata", "num_failures", "error_file", "pickled_error_file")


def test_tunes_trial_has_every_attribute_that_is_used(tmp_path: Path) -> None:
    """Canary: it names the attribute and Ray's version."""
    assert set(ATTRIBUTES) == {*TuneTrial.__annotations__, *(name for name in vars(TuneTrial) if name[0] != "_")}
    fake = fake_trial(tiny_trial(), tmp_path)
    trial = Trial("unused", stub=True, trial_id="t1", config=fake.config, max_failures=2)
    for name in ATTRIBUTES:
        assert name in dir(trial), f"Trial.{name} of Ray {ray.__version__} is gone"
        assert name in dir(fake)
    assert (trial.trial_id, trial.max_failures, trial.num_failures) == ("t1", 2, 0)
    assert assignment_in(trial.config).trial == tiny_trial()
    assert study_trial_id(trial) == tiny_trial().trial_id
    assert NODE_IP == "node_ip", f"the key of a node's address in results of Ray {ray.__version__} is {NODE_IP}"
    trial.max_failures = fake.max_failures = 1
    for number in (1, 2):
        trial.run_metadata.num_failures = number
        assert fake.fail(ValueError(), "") == trial.should_recover() == (number == 1)


def test_of_the_results_of_a_trial_that_has_ended_tune_keeps_nothing() -> None:
    """Canary: what else Tune's trials come to hold of results is to be let go of, too."""
    trial = Trial("unused", stub=True, trial_id="t1")
    empty = {name: repr(value) for name, value in vars(trial.run_metadata).items()}
    trial.update_last_result(result_of(EpochDone(report_of(2)), done=True) | {"training_iteration": 2, "pid": 7})
    changed = {name for name, value in vars(trial.run_metadata).items() if repr(value) != empty[name]}
    assert changed == {*KeptResults.__annotations__, "last_result_time"}, f"of a trial of Ray {ray.__version__}"
    forget_results(trial)
    assert trial.last_result == {"done": True, "trial_id": "t1"}
    assert (trial.metric_analysis, trial.metric_n_steps) == ({}, {})


@pytest.mark.parametrize(
    "message",
    [EpochDone(report_of(2)), EpochsInCheckpoint((report_of(1), report_of(2))), TrialFailed("ValueError", "no")],
    ids=lambda message: type(message).__name__,
)
def test_a_message_is_what_it_was_after_tune_has_flattened_the_result(message: Message) -> None:
    result = flatten_dict(result_of(message, done=True) | {"config": {"a": {"b": 1}}})
    assert message_in(result) == message
    numbers = {EpochDone: [2], EpochsInCheckpoint: [1, 2], TrialFailed: []}[type(message)]
    assert reports_in(result) == tuple(map(report_of, numbers))
    assert result["done"]

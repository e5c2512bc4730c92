"""One process that runs trials, without Ray around it."""

import gc
import os
import pickle
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

import kd_sweep as catalogue
from kd_sweep.distill.checkpoints import CHECKPOINTS
from kd_sweep.driver.tune.searcher import TuneSearcher
from kd_sweep.driver.tune.trainable import TrialActor
from kd_sweep.driver.tune.trial_sources import PlannedSource
from kd_sweep.driver.tune.tune_trial import config_of, message_in
from kd_sweep.driver.worker_messages import Assignment, EpochDone, EpochsInCheckpoint, TrialFailed, WorkerSettings
from kd_sweep.errors import NonFiniteError
from kd_sweep.study.spec import Objective
from kd_sweep.study.trial import TrialConfig
from tests.catalogue_entries import own_entries
from tests.distill.trials import DIVERGES, metrics_of, run, tiny_trial


def settings(root: Path, best_by: Objective | None = None) -> WorkerSettings:
    return WorkerSettings(root=str(root), study="s", device="cpu", num_threads=1, best_by=best_by)


def config(trial: TrialConfig, root: Path) -> dict[str, Any]:
    """Return a trial's configuration after the way to its process."""
    config: dict[str, Any] = pickle.loads(pickle.dumps(config_of(Assignment(trial, settings(root)))))
    return config


class Listener(PlannedSource):
    def __init__(self, trial: TrialConfig) -> None:
        super().__init__([trial])
        self.received: list[tuple[float, ...] | None] = []

    def tell(self, trial: TrialConfig, values: tuple[float, ...] | None) -> None:
        self.received.append(values)


def test_a_step_is_an_epoch_with_its_process(tmp_path: Path) -> None:
    trial = tiny_trial()
    actor = TrialActor(config(trial, tmp_path / "r"))
    results = [actor.step() for _ in range(trial.student.epochs)]
    assert [result["done"] for result in results] == [False, False, True]
    messages = [message_in(result) for result in results]
    reports = [message.report for message in messages if isinstance(message, EpochDone)]
    assert metrics_of([report.columns() for report in reports]) == metrics_of(run(trial, tmp_path / "other"))
    assert {(report.host, report.pid) for report in reports} == {(socket.gethostname(), os.getpid())}
    assert list((tmp_path / "r" / "s" / CHECKPOINTS / trial.trial_id).glob("last-*.safetensors"))


def test_a_process_that_started_without_looking_for_cycles_does_once_all_is_loaded(tmp_path: Path) -> None:
    gc.disable()
    try:
        TrialActor(config(tiny_trial(), tmp_path)).step()
        assert gc.isenabled()
    finally:
        gc.enable()


def test_a_process_takes_over_another_trial_after_one_that_raised(tmp_path: Path) -> None:
    bad = tiny_trial(student=DIVERGES, seed=3)
    actor = TrialActor(config(bad, tmp_path))
    result = actor.step()
    while not isinstance(message := message_in(result), TrialFailed):
        result = actor.step()
    assert message.kind == "NonFiniteError"
    assert "epoch" in message.message
    with pytest.raises(NonFiniteError, match="epoch"):
        actor.step()
    assert actor.reset_config(config(tiny_trial(), tmp_path))
    assert isinstance(message_in(actor.step()), EpochDone)


HANDLER = "import sys\ndef handler(*_): sys.exit(1)"
"""As Ray has one for SIGTERM in its workers."""


def test_a_process_that_is_told_to_end_within_a_plugin_says_nothing_of_its_trial(tmp_path: Path) -> None:
    rays: dict[str, Any] = {"__name__": "ray._private.worker"}
    exec(HANDLER, rays)
    before = signal.signal(signal.SIGTERM, rays["handler"])
    try:
        with own_entries():
            catalogue.loss("told")(lambda *_: signal.raise_signal(signal.SIGTERM))
            catalogue.loss("exits")(lambda *_: sys.exit(3))
            told, exits = (
                TrialActor(config(tiny_trial(distillation={"loss": f"tests:{name}"}), tmp_path / name))
                for name in ("told", "exits")
            )
            with pytest.raises(SystemExit):
                told.step()
            message = message_in(exits.step())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert isinstance(message, TrialFailed)
    assert "distillation.loss: 'tests:exits' raised SystemExit: 3" in message.message


def test_a_trial_that_cannot_be_begun_is_announced_before_it_raises(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("no folder")
    actor = TrialActor(config(tiny_trial(), tmp_path / "r"))
    message = message_in(actor.step())
    assert isinstance(message, TrialFailed)
    assert message.kind == "StorageError"
    assert str(tmp_path / "r") in message.message


@pytest.mark.parametrize(("known", "expected"), [(0, [1, 2, 3]), (1, [2, 3]), (2, [3]), (3, [3])])
def test_a_trial_whose_checkpoint_has_every_epoch_reports_those_that_are_not_known(
    known: int, expected: list[int], tmp_path: Path
) -> None:
    """An attempt can die between its last checkpoint and its report; then samplers must not hear of a failure."""
    trial = tiny_trial()
    listener = Listener(trial)
    searcher = TuneSearcher(listener, settings(tmp_path), ("val_accuracy", "train_loss"), lambda _: known)
    suggested = searcher.suggest("t1")
    first = TrialActor(suggested)
    last = [message_in(first.step()) for _ in range(trial.student.epochs)][-1]
    again = TrialActor(suggested).step()
    message = message_in(again)
    assert again["done"]
    assert isinstance(last, EpochDone)
    assert isinstance(message, EpochsInCheckpoint)
    assert [report.epoch for report in message.reports] == expected
    assert message.reports[-1].metrics == last.report.metrics
    assert {(report.host, report.pid) for report in message.reports} == {(None, None)}
    searcher.on_trial_complete("t1", again)
    searcher.on_trial_complete("t1", again)
    assert listener.received == [(last.report.metrics["val_accuracy"], last.report.metrics["train_loss"])]


def test_a_trial_reports_what_only_its_checkpoint_has_before_it_goes_on(tmp_path: Path) -> None:
    trial = tiny_trial()
    first = TrialActor(config(trial, tmp_path))
    reported = [message_in(first.step()) for _ in range(2)]
    actor = TrialActor(config(trial, tmp_path))
    messages = [message_in(result) for result in (actor.step(), actor.step())]
    assert isinstance(messages[0], EpochsInCheckpoint)
    assert isinstance(messages[1], EpochDone)
    assert [one.metrics for one in messages[0].reports] == [
        message.report.metrics for message in reported if isinstance(message, EpochDone)
    ]
    assert messages[1].report.epoch == 3


@pytest.mark.parametrize("result", [None, {}, {"training_iteration": 0}])
def test_a_trial_that_reported_nothing_is_a_failure_to_a_sampler(result: dict[str, Any] | None, tmp_path: Path) -> None:
    listener = Listener(tiny_trial())
    searcher = TuneSearcher(listener, settings(tmp_path), ("val_accuracy",), lambda _: 0)
    searcher.suggest("t1")
    searcher.on_trial_complete("t1", result)
    assert listener.received == [None]

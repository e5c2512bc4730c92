"""A study whose scheduler stops trials: interrupted anywhere and resumed, it ends as an unbroken one. No Ray here."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ray.tune.experiment import Trial

import kd_sweep.driver.recorder as recorder_module
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.driver.tune.stopping import RuleScheduler
from kd_sweep.driver.tune.tune_trial import config_of, result_of
from kd_sweep.driver.worker_messages import Assignment, EpochDone, WorkerSettings
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.spec import StudySpec
from kd_sweep.tables.reader import open_results
from tests.driver.reports import report_of
from tests.driver.stopping.schedulers import SCHEDULERS

NUM_EPOCHS = 6
SETTINGS = WorkerSettings(root="r", study="s", device="cpu", num_threads=1)


def study(scheduler: str, *, with_seeds: bool = False) -> StudySpec:
    objectives = [{"metric": "val_accuracy"}, {"metric": "predictive_kl_val", "mode": "min"}]
    content = {
        "name": "s",
        "student": {"epochs": NUM_EPOCHS},
        "search": {"ensemble_size": {"grid": [1, 2, 3]}} | ({} if with_seeds else {"seed": {"grid": [0, 1, 2, 3]}}),
        "seeds": 4 if with_seeds else None,
        "objectives": objectives if "pareto" in scheduler else objectives[:1],
    }
    return parse_spec(json.dumps(content)[:-1] + f', "scheduler": {scheduler}}}', "s.yaml")


def metrics_of(trial_id: str, epoch: int) -> dict[str, float]:
    """Return what a trial reports: the same whenever it is trained."""
    rng = random.Random(f"{trial_id} {epoch}")
    level = random.Random(trial_id).random()
    values = {name: rng.random() for name in ("val_loss", "predictive_kl_val")}
    return values | {"val_accuracy": level * (1 - 0.6**epoch) + 0.3 * rng.random()}


def run(root: Path, spec: StudySpec, most: int = 10_000, *, told: bool = True) -> bool:
    """Run a driver with one slot for so many epochs; return whether the study has ended.

    Args:
        root: the results root.
        spec: the study.
        most: after so many epochs the driver dies.
        told: whether it dies after it has acted on the last epoch's decision.
    """
    with StudyState(spec, StudyFolder(root, "s")) as state:
        assert state.judge is not None
        scheduler = RuleScheduler(state.judge)
        for config in [*state.work.unfinished, *(trial.config for trial in state.work.new)]:
            state.recorder.started(config)
            tune_trial = Trial("unused", stub=True, config=config_of(Assignment(config, SETTINGS)))
            for epoch in range(state.recorder.last_epoch(config.trial_id) + 1, NUM_EPOCHS + 1):
                most -= 1
                report = report_of(epoch, **metrics_of(config.trial_id, epoch))
                result = result_of(EpochDone(report))
                decision = None if epoch == NUM_EPOCHS else scheduler.on_trial_result(None, tune_trial, result)
                state.recorder.epoch(config.trial_id, report)
                if most == 0 and not told:
                    return False
                if epoch == NUM_EPOCHS or decision == RuleScheduler.STOP:
                    scheduler.on_trial_complete(None, tune_trial, result)
                    state.recorder.ended(config.trial_id, "completed" if epoch == NUM_EPOCHS else "stopped")
                if most == 0:
                    return False
                if decision == RuleScheduler.STOP:
                    break
    return True


def ends(root: Path) -> dict[str, tuple[str, int, Any]]:
    rows = open_results(root).table("trials").to_pylist()
    return {row["trial_id"]: (row["status"], row["last_epoch"], row["rung"]) for row in rows}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_an_interrupted_study_ends_as_an_unbroken_one(name: str, tmp_path: Path) -> None:
    spec, rng = study(SCHEDULERS[name]), random.Random(name)
    assert run(tmp_path / "unbroken", spec)
    for _ in range(1000):
        if run(tmp_path / "broken", spec, rng.randint(2, 20), told=rng.random() < 0.5):
            break
    assert ends(tmp_path / "broken") == ends(tmp_path / "unbroken")
    statuses = [status for status, _, _ in ends(tmp_path / "broken").values()]
    assert 2 <= statuses.count("stopped") < len(statuses) == 12
    assert set(statuses) <= {"stopped", "completed"}


def test_an_interrupted_study_with_seeds_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    spec = study(SCHEDULERS["asha"], with_seeds=True)
    assert run(tmp_path / "unbroken", spec)
    while not run(tmp_path / "broken", spec, 7, told=False):
        pass
    assert ends(tmp_path / "broken") == ends(tmp_path / "unbroken")
    rows = open_results(tmp_path / "broken").table("trials").to_pylist()
    # The first trial of a seed has nobody to be compared with.
    first = {row["seed"]: row["status"] for row in sorted(rows, key=lambda row: row["started_at"], reverse=True)}
    assert first == dict.fromkeys(range(4), "completed")
    compared = ends(tmp_path / "unbroken")
    assert run(tmp_path / "together", study(SCHEDULERS["asha"]))
    assert ends(tmp_path / "together").keys() == compared.keys()
    assert ends(tmp_path / "together") != compared


def test_a_trial_whose_driver_died_before_it_could_stop_it_is_stopped_by_the_resume(tmp_path: Path) -> None:
    spec = study("{name: patience, patience: 1, min_delta: 100.0}")  # every trial, at epoch 2
    assert not run(tmp_path, spec, 2, told=False)
    (trial_id,) = ends(tmp_path)
    with StudyState(spec, StudyFolder(tmp_path, "s")) as state:
        assert state.recorder.status(trial_id) == "stopped"
        assert not state.work.unfinished
        assert len(state.work.new) == 11
    assert ends(tmp_path) == {trial_id: ("stopped", 2, 2)}


def test_epochs_are_in_order_of_arrival_also_where_the_clock_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [datetime(2026, 11, 28, 12, tzinfo=UTC)]

    def put_back() -> datetime:
        clock.append(clock[-1] - timedelta(hours=1))
        return clock[-1]

    monkeypatch.setattr(recorder_module, "now", put_back)
    spec = study(SCHEDULERS["asha"])
    run(tmp_path, spec, 5)
    run(tmp_path, spec, 4)
    epochs = open_results(tmp_path).table("epochs").sort_by("finished_at")
    seen: list[str] = epochs["trial_id"].to_pylist()
    order = sorted(set(seen), key=seen.index)
    assert seen == sorted(seen, key=order.index)  # one slot: a trial's epochs follow each other
    assert len(set(epochs["finished_at"].to_pylist())) == epochs.num_rows == 9

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from kd_sweep.driver.tune.stopping import RememberingAsha, RememberingMedian, build_scheduler
from kd_sweep.study.file.load import parse_spec


def study(scheduler: str):
    text = f"name: s\nstudent: {{epochs: 9}}\nsearch: {{seed: {{grid: [0, 1, 2, 3]}}}}\nscheduler: {scheduler}\n"
    return parse_spec(text, "s.yaml")


def epochs(values: list[float]) -> list[dict[str, float]]:
    return [{"epoch": epoch, "val_accuracy": value} for epoch, value in enumerate(values, start=1)]


def holding(tables: dict[str, list[dict[str, Any]]]) -> Callable[[Sequence[str]], pa.Table]:
    """Return the epochs table of a study with these rows, as `Recorder.epochs_table` does."""
    rows = [{"trial_id": trial_id} | row for trial_id, epochs in tables.items() for row in epochs]
    return lambda columns: pa.table({name: [row[name] for row in rows] for name in columns})


def tune_trial(trial_id: str, ours: str) -> Trial:
    return Trial("unused", stub=True, trial_id=trial_id, config={"trial_id": ours})


def rungs_of(scheduler: RememberingAsha) -> dict[float, dict[str, float]]:
    """Milestone (in epochs) -> trial id -> value, in the metric's own sign."""
    rungs = scheduler._brackets[0]._rungs
    return {m: {trial: scheduler._metric_op * value for trial, value in recorded.items()} for m, recorded in rungs}


TABLES = {"a": epochs([0.9, 0.9, 0.9, 0.9, 0.9]), "b": epochs([0.8, 0.8]), "c": epochs([0.2])}


def test_rungs_hold_what_the_tables_hold() -> None:
    scheduler = build_scheduler(study("{name: asha, grace_period: 1, reduction_factor: 3}"), holding(TABLES))
    assert isinstance(scheduler, RememberingAsha)
    assert rungs_of(scheduler) == {1: {"a": 0.9, "b": 0.8, "c": 0.2}, 3: {"a": 0.9}, 9: {}}


def test_a_new_trial_is_judged_against_remembered_ones() -> None:
    spec = study("{name: asha, grace_period: 1, reduction_factor: 3}")
    scheduler = build_scheduler(spec, holding(TABLES))
    good, bad = tune_trial("t1", "d"), tune_trial("t2", "e")
    for trial in (good, bad):
        scheduler.on_trial_add(None, trial)
    assert scheduler.on_trial_result(None, good, {"epoch": 1, "val_accuracy": 0.95}) == TrialScheduler.CONTINUE
    assert scheduler.on_trial_result(None, bad, {"epoch": 1, "val_accuracy": 0.3}) == TrialScheduler.STOP


def test_minimised_metrics_keep_their_sign() -> None:
    spec = study("{name: asha, metric: train_loss, mode: min, reduction_factor: 2}")
    rows = {"a": [{"epoch": 1, "train_loss": 0.1}], "b": [{"epoch": 1, "train_loss": 0.9}]}
    scheduler = build_scheduler(spec, holding(rows))
    assert rungs_of(scheduler)[1] == {"a": 0.1, "b": 0.9}
    worse = tune_trial("t", "c")
    scheduler.on_trial_add(None, worse)
    assert scheduler.on_trial_result(None, worse, {"epoch": 1, "train_loss": 0.8}) == TrialScheduler.STOP


def test_where_epochs_are_searched_the_longest_trial_may_run_to_its_end() -> None:
    text = "{name: s, search: {student.epochs: {grid: [2, 30]}}, scheduler: {name: asha, grace_period: 1}}"
    scheduler = build_scheduler(parse_spec(text, "s.yaml"), holding({}))
    long = tune_trial("t", "a")
    scheduler.on_trial_add(None, long)
    for epoch in (8, 29):  # 8: the default, which no trial of this study has
        row = {"epoch": epoch, "val_accuracy": 0.9}
        assert scheduler.on_trial_result(None, long, row) == TrialScheduler.CONTINUE


def test_a_resumed_trial_does_not_count_twice() -> None:
    spec = study("{name: asha, grace_period: 1, reduction_factor: 3}")
    scheduler = build_scheduler(spec, holding(TABLES))
    resumed = tune_trial("t1", "b")
    scheduler.on_trial_add(None, resumed)
    scheduler.on_trial_result(None, resumed, {"epoch": 3, "val_accuracy": 0.85})
    rungs = rungs_of(scheduler)
    assert rungs[1] == {"a": 0.9, "t1": 0.8, "c": 0.2}
    assert rungs[3] == {"a": 0.9, "t1": 0.85}


def test_median_compares_with_remembered_trials_and_never_pauses() -> None:
    tables = {name: epochs([0.8, 0.8, 0.8]) for name in "abc"}
    scheduler = build_scheduler(study("{name: median, grace_period: 2, min_trials: 3}"), holding(tables))
    assert isinstance(scheduler, RememberingMedian)
    bad = tune_trial("t", "d")
    scheduler.on_trial_add(None, bad)
    assert scheduler.on_trial_result(None, bad, {"epoch": 1, "val_accuracy": 0.1}) == TrialScheduler.CONTINUE
    assert scheduler.on_trial_result(None, bad, {"epoch": 2, "val_accuracy": 0.1}) == TrialScheduler.STOP


def test_the_tables_are_read_once_and_epochs_without_the_metric_do_not_count() -> None:
    tables = {name: epochs([0.8, 0.8]) for name in "abc"} | {"d": [{"epoch": 1, "val_accuracy": None}]}
    asked: list[Sequence[str]] = []

    def table(columns: Sequence[str]) -> pa.Table:
        asked.append(columns)
        return holding(tables)(columns)

    scheduler = build_scheduler(study("{name: asha, grace_period: 1}"), table)
    assert rungs_of(scheduler)[1] == {"a": 0.8, "b": 0.8, "c": 0.8}
    assert len(asked) == 1
    scheduler = build_scheduler(study("{name: median, grace_period: 2, min_trials: 3}"), table)
    assert sorted(scheduler._results) == ["a", "b", "c"]
    build_scheduler(study("{name: none}"), table)
    assert len(asked) == 2

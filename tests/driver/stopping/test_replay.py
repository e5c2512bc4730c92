"""What a rule knows after a resume: the tables, in the order in which their epochs came."""

import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from kd_sweep.driver.stopping.replay import Replay, replay
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.spec import StudySpec, judged_by
from tests.driver.stopping.schedulers import SCHEDULERS
from tests.driver.stopping.simulated import Curves, curves, reports

BEGIN = datetime(2026, 11, 28, tzinfo=UTC)
TIMES = pa.timestamp("us", tz="UTC")


def study(scheduler: str) -> StudySpec:
    text = f"name: s\nstudent: {{epochs: 9}}\nsearch: {{seed: {{grid: [0, 1, 2, 3]}}}}\nscheduler: {scheduler}\n"
    if "pareto" in scheduler:
        text += "objectives: [{metric: val_accuracy}, {metric: predictive_kl_val, mode: min}]\n"
    return parse_spec(text, "s.yaml")


def holding(rows: Sequence[Mapping[str, Any]]) -> Callable[[Sequence[str]], pa.Table]:
    """Return the epochs table of a study with these rows, as `Recorder.epochs_table` does."""
    ordered = sorted(rows, key=lambda row: (row["trial_id"], row["epoch"]))
    kinds = {"trial_id": pa.string(), "epoch": pa.int32(), "finished_at": TIMES}
    return lambda columns: pa.table(
        {name: pa.array([row.get(name) for row in ordered], kinds.get(name, pa.float64())) for name in columns}
    )


def row_of(spec: StudySpec, trials: Curves, trial: str, epoch: int) -> dict[str, Any]:
    """Return what a trial reports of an epoch: its scores as metrics, each in the metric's own sign."""
    pairs = zip(judged_by(spec), trials[trial][epoch - 1], strict=True)
    return {"epoch": epoch} | {one.metric: score if one.mode == "max" else -score for one, score in pairs}


def resumed(spec: StudySpec, rows: list[dict[str, Any]], unfinished: set[str]) -> Replay:
    """Return the replay of these epochs; none of them counts again, as it would after a retry that starts over."""
    replayed = replay(spec, holding(rows), unfinished)
    assert replayed is not None
    for again in rows:
        assert not replayed.judge.add(again["trial_id"], again)
    return replayed


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_after_interruptions_it_decides_as_unbroken(name: str, ties: bool) -> None:
    spec, num_stopped, num_found = study(SCHEDULERS[name]), 0, 0
    for seed in range(20):
        trials = curves(seed, 16, 9, len(judged_by(spec)), ties=ties)
        rng = random.Random(seed)
        unbroken, decided = replay(spec, holding([]), ()), []
        assert unbroken is not None

        def stops(
            trial: str, epoch: int, judge: Any = unbroken.judge, decided: Any = decided, trials: Any = trials
        ) -> bool:
            assert judge.add(trial, row_of(spec, trials, trial, epoch))
            decided.append(judge.stops(trial))
            return bool(decided[-1])

        order = reports(seed, trials, 1 + seed % 5, stops)
        num_stopped += sum((trial, len(scores)) not in order for trial, scores in trials.items())
        judge, rows, ended = unbroken.judge, list[dict[str, Any]](), dict[str, int]()
        deaths = {0, *rng.sample(range(1, len(order)), 4)}
        for index, (trial, epoch) in enumerate(order):
            if index in deaths:
                # That a trial has ended was written a while after its last epoch, or not at all.
                written = index - rng.randint(0, 6)
                begun = {row["trial_id"] for row in rows}
                unfinished = {one for one in begun if ended.get(one, index) >= written}
                judge, stopped = resumed(spec, rows, unfinished)
                last = {row["trial_id"]: index for index, row in enumerate(rows)}
                assert set(stopped) == {one for one in unfinished if decided[last[one]]}
                num_found += len(stopped)
            row = row_of(spec, trials, trial, epoch)
            assert judge.add(trial, row)
            assert judge.stops(trial) == decided[index], (seed, trial, epoch)
            rows.append(row | {"trial_id": trial, "finished_at": BEGIN + timedelta(milliseconds=index)})
            if decided[index] or epoch == len(trials[trial]):
                ended[trial] = index
    assert num_stopped > 30
    assert num_found > 5


def test_an_unfinished_trial_is_judged_from_what_had_come_by_its_newest_epoch() -> None:
    """The first at a rung goes on, however good those are that come after it."""
    rows = [
        {"trial_id": "b", "epoch": 1, "val_accuracy": 0.1, "finished_at": BEGIN},
        {"trial_id": "a", "epoch": 1, "val_accuracy": 0.9, "finished_at": BEGIN + timedelta(seconds=1)},
        {"trial_id": "c", "epoch": 1, "val_accuracy": 0.2, "finished_at": BEGIN + timedelta(seconds=2)},
    ]
    found = replay(study(SCHEDULERS["asha"]), holding(rows), {"a", "b", "c"})
    assert found is not None
    assert found.stopped == ["c"]


@pytest.mark.parametrize("name", ["median-min", "hyperband"])
def test_of_a_minimised_metric_the_greater_values_stop(name: str) -> None:
    spec = study(SCHEDULERS[name])
    for first, second, expected in ((0.1, 0.9, True), (0.9, 0.1, False)):
        found = replay(spec, holding([]), ())
        assert found is not None
        metric = judged_by(spec)[0].metric
        for trial in map(str, range(20)):
            found.judge.add(trial, {"epoch": 1, metric: first})
        found.judge.add("last", {"epoch": 1, metric: second})
        assert found.judge.stops("last") == expected


def test_epochs_of_a_trial_stay_in_order_whatever_a_clock_said() -> None:
    times = [BEGIN + timedelta(hours=2), BEGIN, BEGIN + timedelta(hours=1), None]
    rows = [
        {"trial_id": "a", "epoch": epoch, "val_accuracy": 0.5, "finished_at": time}
        for epoch, time in enumerate(times, start=1)
    ]
    found = replay(study(SCHEDULERS["patience"]), holding(rows), {"a"})
    assert found is not None
    assert found.judge.last_epoch("a") == 4
    assert found.stopped == ["a"]


def test_the_tables_are_read_once_and_without_a_scheduler_not_at_all() -> None:
    asked: list[Sequence[str]] = []

    def table(columns: Sequence[str]) -> pa.Table:
        asked.append(columns)
        return holding([])(columns)

    replay(study(SCHEDULERS["pareto_asha"]), table, ())
    assert asked == [["trial_id", "epoch", "finished_at", "val_accuracy", "predictive_kl_val"]]
    assert replay(study("{name: none}"), table, ()) is None
    assert len(asked) == 1


def test_where_epochs_are_searched_the_longest_trial_may_run_to_its_end() -> None:
    text = "{name: s, search: {student.epochs: {grid: [2, 30]}}, scheduler: {name: asha, grace_period: 1}}"
    found = replay(parse_spec(text, "s.yaml"), holding([]), ())
    assert found is not None
    for epoch in range(1, 30):  # 8 is the default, which no trial of this study has
        found.judge.add("a", {"epoch": epoch, "val_accuracy": 0.9})
        assert not found.judge.stops("a")
    found.judge.add("b", {"epoch": 1, "val_accuracy": 0.1})
    assert found.judge.stops("b")


def test_rules_load_neither_ray_nor_torch() -> None:
    program = "import sys, kd_sweep.driver.stopping.replay\nprint(*{'ray', 'torch', 'optuna'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""

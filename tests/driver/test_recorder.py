"""The rows of real tables after what a recorder is told, without a sweep around it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kd_sweep.distill.teacher_records import TeacherRecord
from kd_sweep.driver.recorder import Recorder
from kd_sweep.driver.worker_messages import EpochReport
from kd_sweep.storage.root import Root
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import planned_trials
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.writer import StudyWriter
from tests.driver.reports import report_of

STUDY = """
name: s
student: {epochs: 3}
search: {seed: {grid: [0, 1]}, distillation.alpha: {grid: [0.25]}}
objectives: [{metric: val_loss, mode: min}, {metric: val_accuracy, mode: max}]
"""


class Study:
    """Tables, their recorder, and what the checkpoints of every trial hold."""

    def __init__(self, root: Path) -> None:
        self.spec: StudySpec = parse_spec(STUDY, "s.yaml")
        self.history: list[EpochReport] = []
        self.writer = StudyWriter(Root.open(root), "s")
        self.recorder = Recorder(self.writer, self.spec, lambda config: self.history)
        self.trial: TrialConfig = planned_trials(self.spec)[0].config

    def row(self, *names: str) -> tuple[Any, ...]:
        row = self.recorder.trials()[self.trial.trial_id]
        return tuple(row.get(name) for name in names)


@pytest.fixture
def study(tmp_path: Path) -> Iterator[Study]:
    study = Study(tmp_path)
    yield study
    study.writer.close()


def test_a_started_trial_has_its_settings_and_each_start_is_an_attempt(study: Study) -> None:
    study.recorder.started(study.trial, suggestion=4, generation=1)
    assert study.row("status", "attempts", "suggestion", "generation", "num_epochs", "seed", "distillation_alpha") == (
        *("running", 1, 4, 1, 3, 0),
        0.25,
    )
    (began,) = study.row("started_at")
    study.recorder.ended(study.trial.trial_id, "failed", "it raised", "trace")
    assert study.row("status", "error", "traceback") == ("failed", "it raised", "trace")
    study.recorder.started(study.trial)
    assert study.row("attempts", "started_at", "error", "traceback", "finished_at") == (2, began, None, None, None)


def test_a_searched_field_is_null_where_its_condition_does_not_hold(tmp_path: Path) -> None:
    text = "{name: s, search: {distillation.loss: {grid: [kl, dkd]}, distillation.non_target_class_weight: "
    spec = parse_spec(text + "{grid: [2, 4], when: {distillation.loss: dkd}}}}", "s.yaml")
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        recorder = Recorder(writer, spec, lambda config: [])
        for trial in planned_trials(spec):
            recorder.started(trial.config)
        rows = recorder.trials().values()
        columns = ("distillation_loss", "distillation_non_target_class_weight")
        assert [tuple(row.get(name) for name in columns) for row in rows] == [("kl", None), ("dkd", 2.0), ("dkd", 4.0)]


def test_the_best_epoch_is_that_of_the_first_objective(study: Study) -> None:
    study.recorder.started(study.trial)
    for epoch, loss in enumerate((0.7, 0.3, 0.4), start=1):
        study.recorder.epoch(study.trial.trial_id, report_of(epoch, val_loss=loss, epoch_s=2.0))
    assert study.row("last_epoch", "objective", "best_epoch", "best_objective", "train_s") == (3, 0.4, 2, 0.3, 6.0)
    assert study.recorder.objectives_of(study.trial.trial_id) == (0.4, 0.5)
    assert study.recorder.trained_s() == 6.0


def test_with_another_first_objective_trials_are_ranked_by_that(study: Study) -> None:
    study.recorder.study(1, "running")
    study.recorder.started(study.trial)
    for epoch, (loss, accuracy) in enumerate([(0.7, 0.5), (0.3, 0.9), (0.4, 0.6)], start=1):
        study.recorder.epoch(study.trial.trial_id, report_of(epoch, val_loss=loss, val_accuracy=accuracy))
    study.recorder.rank_anew()
    ranked = ("objective", "best_epoch", "best_objective")
    assert study.row(*ranked) == (0.4, 2, 0.3)
    for objective, expected in (
        ("{metric: val_accuracy, mode: min}", (0.6, 1, 0.5)),
        ("{metric: val_accuracy}", (0.6, 2, 0.9)),
    ):
        spec = parse_spec(STUDY.partition("objectives")[0] + f"objectives: [{objective}]", "s.yaml")
        recorder = Recorder(study.writer, spec, lambda config: [])
        recorder.rank_anew()
        recorder.study(1, "running")
        assert study.row(*ranked) == expected


def test_an_epoch_that_is_reported_twice_counts_once(study: Study) -> None:
    study.recorder.started(study.trial)
    for loss in (0.7, 0.1):
        study.recorder.epoch(study.trial.trial_id, report_of(1, val_loss=loss))
    assert study.row("last_epoch", "objective", "train_s") == (1, 0.7, 1.0)


def test_an_interrupted_trial_gets_back_what_its_checkpoint_knows(study: Study) -> None:
    study.recorder.started(study.trial)
    study.recorder.epoch(study.trial.trial_id, report_of(1))
    study.recorder.interrupt_running()
    assert study.row("status") == ("interrupted",)
    study.history = [report_of(1), report_of(2)]
    study.recorder.reconcile(study.trial)
    assert study.row("status", "last_epoch", "train_s") == ("interrupted", 2, 2.0)
    study.history.append(report_of(3))
    study.recorder.reconcile(study.trial)
    assert study.row("status", "last_epoch") == ("completed", 3)
    study.recorder.write_now()
    table = study.recorder.epochs_table(["epoch", "host"]).to_pylist()
    assert [row["epoch"] for row in table] == [1, 2, 3]


def test_a_finished_trial_without_epochs_or_checkpoint_runs_again(study: Study) -> None:
    study.recorder.started(study.trial)
    study.writer.upsert_trial({"trial_id": study.trial.trial_id, "status": "completed", "last_epoch": 3})
    study.recorder.reconcile(study.trial)
    assert study.row("status", "last_epoch", "objective") == ("interrupted", None, None)


def test_a_stopped_trial_gets_no_epoch_after_the_one_it_was_stopped_at(study: Study) -> None:
    study.history = [report_of(1), report_of(2), report_of(3)]
    study.recorder.started(study.trial)
    study.writer.upsert_trial({"trial_id": study.trial.trial_id, "status": "stopped", "last_epoch": 2})
    study.recorder.reconcile(study.trial)
    assert study.row("status", "last_epoch") == ("stopped", 2)
    assert study.recorder.last_epoch(study.trial.trial_id) == 2


def test_a_teacher_counts_for_the_time_and_the_cost_of_a_trial(study: Study) -> None:
    assert study.recorder.trial_cost() is None
    teacher = study.trial.teachers[0]
    record = TeacherRecord(
        teacher_id=teacher.teacher_id,
        config=teacher,
        epochs=5,
        val_accuracy=0.5,
        train_accuracy=0.5,
        num_parameters=1,
        train_s=10.0,
        finished_at=datetime(2099, 1, 1, tzinfo=UTC).isoformat(),
        host="a",
        pid=1,
        sha256="",
        history=(),
        versions={},
    )
    study.recorder.teacher(record)
    assert study.recorder.knows_teacher(teacher.teacher_id)
    study.recorder.started(study.trial)
    study.recorder.epoch(study.trial.trial_id, report_of(1, epoch_s=6.0))
    study.recorder.write_now()
    assert study.recorder.trained_s() == 16.0
    assert study.recorder.trial_cost() == 3.0  # 6 s against 2 s


def test_a_checkpoint_of_before_a_metric_reads_as_null() -> None:
    report = EpochReport.of_row({"epoch": 1, "epoch_s": 2.0, "val_accuracy": 0.5})
    assert report.metrics["val_accuracy"] == 0.5
    assert {value for name, value in report.metrics.items() if name != "val_accuracy"} == {None}
    assert (report.epoch, report.epoch_s, report.host, report.metrics_version) == (1, 2.0, None, None)

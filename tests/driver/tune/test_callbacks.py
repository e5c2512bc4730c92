"""What a sweep makes of Tune's events: rows of real tables, lines for the user, and how often a trial is tried."""

import io
import signal
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kd_sweep.distill.checkpoints import CHECKPOINTS, LAST
from kd_sweep.driver.interrupts import Interrupt, SweepInterrupted
from kd_sweep.driver.pace import SweepState
from kd_sweep.driver.progress import Display
from kd_sweep.driver.ray.lost_processes import MAX_LOSSES
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.driver.tune.callbacks import SweepCallback
from kd_sweep.driver.tune.trainable import TrialActor
from kd_sweep.driver.tune.tune_trial import result_of
from kd_sweep.driver.worker_messages import (
    EpochDone,
    EpochReport,
    EpochsInCheckpoint,
    TeacherEpochDone,
    TeacherStarted,
    TrialFailed,
)
from kd_sweep.errors import StorageError
from kd_sweep.storage.terms import of_term
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.reader import open_results
from tests.distill.trials import tiny_trial
from tests.driver.ray.rays_messages import KILLED, TOLD_TO_END
from tests.driver.reports import report_of
from tests.driver.tune.fake_trial import FakeTrial, fake_teacher, fake_trial

STUDY = """
name: s
student: {epochs: 3}
search: {seed: {grid: [0, 1, 2]}}
retries: 1
checkpoints: {max_bytes: 1500}
"""
NODE = {"node_ip": "10.0.0.3"}


@dataclass
class Sweep:
    """A study of three trials under one callback, and Tune's part of the conversation."""

    folder: Path
    state: StudyState
    out: io.StringIO = field(default_factory=io.StringIO)
    interrupt: Interrupt = field(default_factory=Interrupt)
    first_epochs: list[str] = field(default_factory=list)
    trials: dict[int, FakeTrial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        display = Display(SweepState("s", self.state.spec.objectives[0]), self.out)
        display.trials_begin(total=3, done=0)
        self.callback = SweepCallback(
            self.state.recorder,
            display,
            self.interrupt,
            self.state.spec.retries,
            self.state.checkpoints,
            self.state.caches,
            lambda config: self.first_epochs.append(config.trial_id),
        )

    def config(self, index: int) -> TrialConfig:
        return self.state.work.new[index].config

    def start(self, index: int = 0) -> FakeTrial:
        """Begin a trial's first attempt, or another one."""
        if index not in self.trials:
            self.trials[index] = fake_trial(self.config(index), self.folder / f"tune{index}", suggestion=index)
        self.callback.on_trial_start(0, [], self.trials[index])
        return self.trials[index]

    def result(self, trial: FakeTrial, message: Any) -> None:
        self.callback.on_trial_result(0, [], trial, result_of(message) | NODE)

    def epochs(self, trial: FakeTrial, *epochs: int) -> None:
        for epoch in epochs:
            self.result(trial, EpochDone(report_of(epoch)))

    def fails(self, trial: FakeTrial, error: Exception, account: str) -> bool:
        """Let an attempt end so, and Tune go on as it then does; return whether it tries the trial again."""
        again = trial.fail(error, account)
        (self.callback.on_trial_recover if again else self.callback.on_trial_error)(0, [], trial)
        return again

    def raises(self, trial: FakeTrial, error: Exception) -> bool:
        """Let the trial itself raise, which its process announces."""
        self.result(trial, TrialFailed(type(error).__name__, str(error), isinstance(error, OSError)))
        return self.fails(trial, error, f"Traceback\n{type(error).__name__}: {error}")

    def completes(self, trial: FakeTrial) -> None:
        self.callback.on_trial_complete(0, [], trial)

    def ends_step(self) -> None:
        self.callback.on_step_end(0, [])

    def row(self, index: int = 0) -> dict[str, Any]:
        """Return the trial's row; columns without a value are None."""
        return defaultdict(lambda: None, self.state.recorder.trials()[self.config(index).trial_id])


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Sweep]:
    spec = parse_spec(STUDY, "s.yaml")
    with StudyState(spec, StudyFolder(tmp_path / "results", "s")) as state:
        yield Sweep(tmp_path, state)


def test_a_trial_from_its_start_to_its_end(sweep: Sweep) -> None:
    trial = sweep.start(1)
    assert {name: sweep.row(1)[name] for name in ("status", "attempts", "suggestion")} == {
        "status": "running",
        "attempts": 1,
        "suggestion": 1,
    }
    sweep.epochs(trial, 1, 2, 3)
    sweep.completes(trial)
    sweep.completes(trial)  # Tune may say it twice
    row = sweep.row(1)
    assert (row["status"], row["last_epoch"], row["train_s"], row["val_accuracy"]) == ("completed", 3, 3.0, 0.5)
    assert (row["host"], row["error"]) == ("a", None)
    assert sweep.first_epochs == [sweep.config(1).trial_id] * 3
    assert sweep.out.getvalue().count("trial 1/3 completed: strength 0, 1 teacher, seed 1") == 1
    sweep.state.recorder.write_now()
    epochs = open_results(sweep.folder / "results").table("epochs").to_pylist()
    assert [(row["epoch"], row["attempt"], row["host"], row["pid"]) for row in epochs] == [
        (1, 1, "a", 1),
        (2, 1, "a", 1),
        (3, 1, "a", 1),
    ]


@pytest.mark.parametrize("fails", [False, True])
def test_tune_keeps_no_result_of_a_trial_after_the_step_in_which_it_ended(fails: bool, sweep: Sweep) -> None:
    """Tune keeps its trials until the sweep ends, and asks for a result of one for the last time as it ends."""
    over, running = sweep.start(0), sweep.start(1)
    for trial in (over, running):
        sweep.epochs(trial, 1)
        trial.run_metadata.last_result = result_of(EpochDone(report_of(1)))
    if fails:
        while sweep.raises(over, ValueError("no")):
            sweep.ends_step()
            assert over.run_metadata.last_result
    else:
        sweep.completes(over)
    sweep.ends_step()
    assert over.run_metadata.last_result == {"done": True}
    assert running.run_metadata.last_result == result_of(EpochDone(report_of(1)))


def test_a_trial_that_the_scheduler_ends_before_its_last_epoch_is_stopped(sweep: Sweep) -> None:
    trial = sweep.start()
    sweep.epochs(trial, 1, 2)
    sweep.completes(trial)
    assert (sweep.row()["status"], sweep.row()["rung"]) == ("stopped", 2)


def test_what_a_trial_raises_is_tried_as_often_as_retries_say(sweep: Sweep) -> None:
    trial = sweep.start()
    sweep.epochs(trial, 1)
    assert sweep.raises(trial, ValueError("the first time"))
    assert (sweep.row()["status"], sweep.row()["error"]) == ("running", None)
    sweep.start()
    assert not sweep.raises(trial, ValueError("the second\ntime"))
    row = sweep.row()
    assert (row["status"], row["error"], row["attempts"]) == ("failed", "ValueError: time", 2)
    assert row["traceback"].startswith("Failure # 2")  # not the first attempt's below it
    assert "trial 1/3 failed: strength 0, 1 teacher, seed 0" in sweep.out.getvalue()


def test_a_lost_process_is_no_retry_and_only_losses_in_a_row_end_a_trial(sweep: Sweep) -> None:
    trial = sweep.start()
    lost = RuntimeError("the actor died")
    for _ in range(MAX_LOSSES):
        assert sweep.fails(trial, lost, KILLED)
        assert sweep.row()["status"] == "lost"
        sweep.start()
    sweep.epochs(trial, 1)  # from here on they count anew
    for _ in range(MAX_LOSSES):
        assert sweep.fails(trial, lost, KILLED)
        sweep.start()
    assert not sweep.fails(trial, lost, KILLED)
    row = sweep.row()
    assert row["status"] == "lost"
    assert row["error"].startswith("the trial's process on 10.0.0.3 was killed or crashed")
    assert row["attempts"] == 2 * MAX_LOSSES + 1


def test_a_loss_between_two_failures_counts_for_neither(sweep: Sweep) -> None:
    trial = sweep.start()
    assert sweep.raises(trial, ValueError("first"))
    sweep.start()
    assert sweep.fails(trial, RuntimeError("died"), KILLED)
    sweep.start()
    assert not sweep.raises(trial, ValueError("second"))
    assert (sweep.row()["status"], sweep.row()["attempts"]) == ("failed", 3)


def test_a_notice_of_preemption_is_told_apart_from_a_kill(sweep: Sweep) -> None:
    trial = sweep.start()
    assert sweep.fails(trial, RuntimeError("died"), TOLD_TO_END)
    assert (sweep.row()["status"], sweep.row()["error"]) == (
        "preempted",
        "the trial's process on 10.0.0.3 received SIGTERM",
    )
    assert f"trial {sweep.config(0).trial_id} preempted, goes on from its checkpoint" in sweep.out.getvalue()
    sweep.start()
    assert (sweep.row()["status"], sweep.row()["error"], sweep.row()["attempts"]) == ("running", None, 2)


def test_a_process_that_dies_before_it_is_ready_was_an_attempt(sweep: Sweep) -> None:
    """Tune never says that such an attempt has begun."""
    trial = fake_trial(sweep.config(0), sweep.folder / "tune")
    assert sweep.fails(trial, RuntimeError("died"), KILLED)
    assert (sweep.row()["status"], sweep.row()["attempts"]) == ("lost", 1)


def test_epochs_that_only_a_checkpoint_knows_are_recorded_with_the_next_report(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = sweep.start()
    history = [report_of(1, epoch_s=5.0), report_of(2, epoch_s=7.0)]
    of_checkpoints(sweep, monkeypatch, history)
    sweep.epochs(trial, 3)
    assert (sweep.row()["last_epoch"], sweep.row()["train_s"]) == (3, 13.0)


def test_a_trial_that_had_every_epoch_is_completed_from_its_checkpoint(sweep: Sweep) -> None:
    trial = sweep.start()
    sweep.epochs(trial, 1)
    sweep.result(trial, EpochsInCheckpoint(tuple(report_of(epoch) for epoch in (1, 2, 3))))
    sweep.completes(trial)
    assert (sweep.row()["status"], sweep.row()["last_epoch"], sweep.row()["train_s"]) == ("completed", 3, 3.0)


def test_epochs_of_a_checkpoint_are_recorded_and_are_no_progress_of_the_attempt(sweep: Sweep) -> None:
    trial = sweep.start()
    for _ in range(MAX_LOSSES):
        sweep.result(trial, EpochsInCheckpoint((report_of(1), report_of(2))))
        assert sweep.row()["last_epoch"] == 2
        assert sweep.fails(trial, RuntimeError("the actor died"), KILLED)
        sweep.start()
    sweep.result(trial, EpochsInCheckpoint((report_of(1), report_of(2))))
    assert not sweep.fails(trial, RuntimeError("the actor died"), KILLED)


def of_checkpoints(sweep: Sweep, monkeypatch: pytest.MonkeyPatch, history: list[EpochReport]) -> None:
    """Let every trial's checkpoint hold these epochs."""
    monkeypatch.setattr(sweep.state.recorder, "_history", lambda config: history)


def test_what_a_trial_reports_after_its_end_changes_no_row_of_the_trial(sweep: Sweep) -> None:
    trial = sweep.start()
    sweep.epochs(trial, 1, 2, 3)
    sweep.completes(trial)
    ended = sweep.row()
    sweep.epochs(trial, 3)
    sweep.result(trial, EpochsInCheckpoint((report_of(3),)))
    sweep.completes(trial)
    sweep.callback.on_trial_error(0, [], trial)
    assert sweep.row() == ended
    assert sweep.first_epochs == [sweep.config(0).trial_id] * 3


def test_a_placeholder_of_tune_is_no_message(sweep: Sweep) -> None:
    trial = sweep.start()
    sweep.callback.on_trial_result(0, [], trial, {"training_iteration": 0} | NODE)
    assert (sweep.row()["status"], sweep.row()["last_epoch"]) == ("running", None)


def test_a_signal_ends_the_sweep_after_a_step_and_the_running_trial_is_interrupted(sweep: Sweep) -> None:
    trial = sweep.start()
    sweep.epochs(trial, 1)
    sweep.ends_step()
    sweep.interrupt.received = signal.SIGTERM
    with pytest.raises(SweepInterrupted, match="SIGTERM"):
        sweep.ends_step()
    rest = sweep.state.finish()
    assert sweep.row()["status"] == "interrupted"
    assert [config.trial_id for config in rest.unfinished] == [sweep.config(0).trial_id]


def test_what_one_trial_cannot_write_ends_the_sweep_after_the_step(sweep: Sweep) -> None:
    trial = sweep.start()
    sweep.raises(trial, StorageError("/r: no space left on device"))
    with pytest.raises(StorageError, match=r"^/r: no space left on device$"):
        sweep.ends_step()


def test_checkpoints_of_the_worst_trials_go_after_the_step_in_which_a_trial_ends(sweep: Sweep) -> None:
    for index, value in enumerate((0.9, 0.1)):
        trial = sweep.start(index)
        path = f"{CHECKPOINTS}/{sweep.config(index).trial_id}/{of_term(LAST, 1)}"
        sweep.state.folder.study.write_bytes(path, bytes(1000))
        for epoch in (1, 2, 3):
            sweep.result(trial, EpochDone(report_of(epoch, value=value)))
        sweep.completes(trial)
        assert sweep.state.folder.study.exists(path)
        sweep.ends_step()
    kept = [sweep.state.folder.study.exists(f"{CHECKPOINTS}/{sweep.config(index).trial_id}") for index in (0, 1)]
    assert kept == [True, False]


def test_checkpoints_that_cannot_go_are_told_of_once(sweep: Sweep) -> None:
    running, ended, other = (sweep.start(index) for index in range(3))
    path = f"{CHECKPOINTS}/{sweep.config(0).trial_id}/{of_term(LAST, 1)}"
    sweep.state.folder.study.write_bytes(path, bytes(2000))
    sweep.epochs(running, 1)
    for trial in (ended, other):
        sweep.epochs(trial, 1, 2, 3)
        sweep.completes(trial)
        sweep.ends_step()
    assert sweep.out.getvalue().count("checkpoints.max_bytes: what unfinished trials go on from takes 2.0KB") == 1
    assert sweep.state.folder.study.exists(path)


def teacher_of(sweep: Sweep) -> FakeTrial:
    """Begin a teacher, which is one of Tune's trials, too."""
    trial = fake_teacher(tiny_trial().teachers[0], sweep.folder / "teacher")
    sweep.callback.on_trial_start(0, [], trial)
    sweep.result(trial, TeacherStarted())
    return trial


def test_a_teacher_from_its_start_to_its_record(sweep: Sweep) -> None:
    trial = fake_teacher(tiny_trial().teachers[0], sweep.folder / "teacher")
    sweep.callback.on_trial_start(0, [], trial)
    actor = TrialActor(trial.config)
    done = False
    while not done:
        result = actor.step()
        sweep.callback.on_trial_result(0, [], trial, result | NODE)
        done = result["done"]
    sweep.completes(trial)
    sweep.state.recorder.write_now()
    results = open_results(sweep.folder / "results")
    (row,) = results.table("teachers").to_pylist()
    assert (row["teacher_id"], row["epochs"]) == (tiny_trial().teachers[0].teacher_id, 2)
    assert f"strength 0.5, seed 0, member 1, val_accuracy {row['val_accuracy']:.4f}" in sweep.out.getvalue()
    assert results.table("trials").num_rows == 0


def test_a_teacher_that_loses_its_process_is_tried_again_until_it_never_gets_an_epoch_done(sweep: Sweep) -> None:
    trial = teacher_of(sweep)
    lost = RuntimeError("the actor died")
    for _ in range(MAX_LOSSES):
        assert sweep.fails(trial, lost, KILLED)
    sweep.result(trial, TeacherStarted())
    sweep.result(trial, TeacherEpochDone(1))
    for _ in range(MAX_LOSSES):
        assert sweep.fails(trial, lost, KILLED)
    assert not sweep.fails(trial, lost, KILLED)
    said = sweep.out.getvalue()
    label = "teacher strength 0.5, seed 0, member 1: its process on 10.0.0.3 was killed or crashed; "
    assert said.count(label) == 2 * MAX_LOSSES + 1
    assert said.count(f"trying again (2 of {MAX_LOSSES + 1})") == 2  # after the epoch they count anew
    assert f"given up after {MAX_LOSSES + 1} attempts; its trials try it too" in said
    assert sweep.state.recorder.trials() == {}


def test_what_a_teacher_raises_is_left_to_its_trials_and_what_the_system_refuses_is_tried_again(sweep: Sweep) -> None:
    trial = teacher_of(sweep)
    assert sweep.raises(trial, OSError("Resource temporarily unavailable"))
    assert not sweep.raises(trial, ValueError("no such thing"))
    said = sweep.out.getvalue()
    assert "member 1: OSError: Resource temporarily unavailable, trying again (2 of 9)" in said
    assert "member 1: ValueError: no such thing; its trials try it too" in said


def test_what_a_teacher_cannot_write_ends_the_sweep_after_the_step(sweep: Sweep) -> None:
    sweep.raises(teacher_of(sweep), StorageError("/r: no space left on device"))
    with pytest.raises(StorageError, match=r"^/r: no space left on device$"):
        sweep.ends_step()

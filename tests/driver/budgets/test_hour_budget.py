"""`budget.max_hours` holds over a study's life, which its tables tell."""

import datetime
from pathlib import Path

import pytest

from kd_sweep.distill.teacher_records import TeacherRecord
from kd_sweep.driver.budgets.hour_budget import HoursAreUp
from kd_sweep.driver.study_checks import checked
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TeacherConfig, TrialConfig
from tests.command_line import Cli, Run
from tests.comparing_tables import comparable
from tests.driver.reports import report_of
from tests.tiny_study import TINY

STUDY = "name: s\nstudent: {epochs: 4, warmup_epochs: 0}\nsearch: {seed: {grid: [0, 1, 2]}}\nbudget: {max_hours: %g}\n"


def study(max_hours: float, more: str = "") -> StudySpec:
    return checked(parse_spec(STUDY % max_hours + more, "s.yaml"), say=print)


def opened(root: Path, spec: StudySpec) -> StudyState:
    return StudyState(spec, StudyFolder(root, "s"))


def train(state: StudyState, trial: TrialConfig, epoch_s: float) -> None:
    """Record the trial's next epoch."""
    if state.recorder.status(trial.trial_id) != "running":
        state.recorder.started(trial)
    epoch = state.recorder.last_epoch(trial.trial_id) + 1
    state.recorder.epoch(trial.trial_id, report_of(epoch, epoch_s=epoch_s))
    if epoch == trial.student.epochs:
        state.recorder.ended(trial.trial_id, "completed")


def add_teacher(state: StudyState, teacher: TeacherConfig, train_s: float, finished_at: datetime.datetime) -> None:
    record = TeacherRecord(
        teacher_id=teacher.teacher_id,
        config=teacher,
        epochs=8,
        val_accuracy=0.5,
        train_accuracy=0.5,
        num_parameters=1,
        train_s=train_s,
        finished_at=finished_at.isoformat(),
        host="a",
        pid=1,
        sha256="",
        history=(),
        versions={},
    )
    state.recorder.teacher(record)


def outstanding(state: StudyState) -> TrialConfig:
    return state.work.unfinished[0] if state.work.unfinished else state.work.new[0].config


def test_ten_requeues_share_one_budget(tmp_path: Path) -> None:
    for _ in range(10):
        with opened(tmp_path, study(0.75)) as state:
            assert state.work
            train(state, outstanding(state), 270)
    with opened(tmp_path, study(0.75)) as state:
        assert not state.work
        assert state.work.hours_are_up
        assert [row["status"] for row in state.recorder.trials().values()] == ["completed", "completed", "interrupted"]
        (cut_off,) = state.work.unfinished
        assert state.recorder.last_epoch(cut_off.trial_id) == 2
    with opened(tmp_path, study(0.8)) as state:
        assert state.work
        assert outstanding(state) == cut_off
        train(state, cut_off, 270)
        assert state.recorder.last_epoch(cut_off.trial_id) == 3


def test_the_sweep_ends_at_the_epoch_that_uses_the_hours_up(tmp_path: Path) -> None:
    with opened(tmp_path, study(1.0)) as state:
        trial = outstanding(state)
        for _ in range(3):
            train(state, trial, 1199.0)
            state.hours.check()
        train(state, trial, 3.0)
        with pytest.raises(HoursAreUp):
            state.hours.check()


def test_no_limit_is_none(tmp_path: Path) -> None:
    with opened(tmp_path, checked(parse_spec("name: s\n", "s.yaml"), say=print)) as state:
        train(state, outstanding(state), 1e9)
        state.hours.check()
        assert not state.hours.is_spent


@pytest.mark.parametrize(("hours_ago", "counts"), [(-1, True), (24, False)])
def test_teachers_count_unless_they_were_there_before(tmp_path: Path, hours_ago: float, counts: bool) -> None:
    finished_at = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=hours_ago)
    with opened(tmp_path, study(1.0)) as state:
        trial = outstanding(state)
        add_teacher(state, trial.teachers[0], 3000.0, finished_at)
        train(state, trial, 700.0)
        assert state.hours.is_spent == counts
    with opened(tmp_path, study(1.0)) as state:
        assert bool(state.work) != counts


def test_a_study_whose_hours_are_up_is_incomplete_until_it_is_done(tmp_path: Path) -> None:
    with opened(tmp_path, study(1.0)) as state:
        for planned in state.work.new:
            for _ in range(planned.epochs):
                train(state, planned.config, 301.0)
        assert state.hours.is_spent
        assert state.finish().size == 0
        assert state._writer.study_row["status"] == "completed"
    with opened(tmp_path, study(1.0, "sampler: {name: random, num_trials: 2}\n")) as state:
        assert state.finish().hours_are_up


@pytest.mark.slow
def test_a_sweep_stops_with_its_hours_and_goes_on_when_they_are_raised(
    uninterrupted: Path, with_teachers: Path, kd_sweep: Run, cli: Cli, tmp_path: Path
) -> None:
    spec = tmp_path / "tiny.yaml"
    spec.write_text(TINY + "budget: {max_hours: 0.000001}\n")
    first = kd_sweep("launch", spec, "--root", with_teachers)
    assert first.returncode == 0, first.stderr
    assert "trials have not started: budget.max_hours are over" in first.stderr
    assert "go on from their last epoch when budget.max_hours is raised" in first.stderr
    code, _, err = cli("resume", with_teachers / "tiny")
    assert code == 0
    assert "nothing was run" in err
    last = kd_sweep("launch", spec, "--root", with_teachers, "--set", "budget.max_hours=1")
    assert last.returncode == 0, last.stderr
    for table in ("trials", "epochs", "teachers"):
        assert comparable(with_teachers, table).equals(comparable(uninterrupted, table)), table

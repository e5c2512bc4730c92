"""What a person sees: how long it still takes, and what has failed."""

import io

import pytest

from kd_sweep.driver import pace, progress
from kd_sweep.driver.pace import SweepState
from kd_sweep.driver.progress import Display, LiveDisplay
from kd_sweep.study.recipe import Learner
from kd_sweep.study.spec import Objective
from kd_sweep.study.trial import TrialConfig

TRIAL = TrialConfig(student=Learner(epochs=200))


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (pace, progress):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def state(clock: Clock) -> SweepState:
    return SweepState("s", Objective(), started=clock.seconds)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_epochs_of_earlier_runs_are_no_pace(state: SweepState, clock: Clock) -> None:
    """Ten trials, two of them resumed at epoch 190 of 200; this run does an epoch of each per second."""
    state.trials_begin(total=10, done=0)
    for name in "ab":
        state.trial_started(name, TRIAL, 190)
    clock.seconds += 1
    assert state.eta_s() is None
    for epoch in range(191, 200):
        clock.seconds += 1
        for name in "ab":
            state.running[name].epoch = epoch
    assert state.eta_s() is None  # ten seconds say nothing of trials that take minutes
    for name in "ab":
        state.running[name].epoch = 200
        state.trial_ended(name, "completed")
    # 20 epochs in 10 s; 8 trials of 200 are left.
    assert state.eta_s() == pytest.approx(8 * 200 / 2)


def test_after_a_minute_there_is_a_pace_without_an_ended_trial(state: SweepState, clock: Clock) -> None:
    state.trials_begin(total=3, done=1)
    state.trial_started("a", TRIAL, 0)
    clock.seconds += pace.PACE_S
    assert state.eta_s() is None
    state.running["a"].epoch = 50
    assert state.eta_s() == pytest.approx(pace.PACE_S * 7)


def test_a_later_attempt_is_the_same_trial(state: SweepState, clock: Clock) -> None:
    state.trials_begin(total=1, done=0)
    state.trial_started("a", TRIAL, 100)
    state.running["a"].epoch = 150
    state.trial_started("a", TRIAL, 150)
    clock.seconds += 100
    assert state.eta_s() == pytest.approx(100)


def test_a_trial_that_a_scheduler_stops_has_done_its_part(state: SweepState, clock: Clock) -> None:
    state.trials_begin(total=4, done=0)
    state.trial_started("a", TRIAL, 0)
    state.running["a"].epoch = 20
    clock.seconds += 5
    state.trial_ended("a", "stopped")
    assert state.eta_s() == pytest.approx(15)


@pytest.mark.parametrize("status", ["failed", "lost", "preempted"])
@pytest.mark.parametrize("kind", [Display, LiveDisplay])
def test_a_trial_that_is_given_up_is_told(kind: type[Display], status: str) -> None:
    out = Terminal()
    display = kind(SweepState("s", Objective()), out)
    display.trial_started("a", TRIAL, 0)
    display.trial_ended("a", status, "the node went away")
    display.close()
    assert f"{status}: strength 0, 1 teacher, seed 0: the node went away" in out.getvalue()


def test_a_terminal_shows_completed_trials_by_its_bars_alone() -> None:
    out = Terminal()
    display = LiveDisplay(SweepState("s", Objective()), out)
    display.trial_ended("abc", "completed", None)
    display.close()
    assert "abc" not in out.getvalue()


def test_time_left_is_of_teachers_and_trials_by_their_cost(state: SweepState, clock: Clock) -> None:
    """Two teachers of ten epochs, one of which an earlier run has trained for four, and forty epochs of trials."""
    display = Display(state, io.StringIO())
    display.begin(trial_epochs=40, trial_cost=2.5)
    display.teachers_begin(3, [10, 10])
    assert (state.teachers_done, state.eta_s()) == (1, None)
    display.teacher_started("a", "first", 10)
    display.teacher_started("b", "second", 10)
    for epoch in range(5, 11):
        clock.seconds += 2
        display.teacher_epoch("a", epoch)
    assert state.eta_s() is None
    display.teacher_done("a", "first", 0.5)
    # 6 epochs in 12 s; 10 of the other teacher are left, and trials that take as long as 100.
    assert state.eta_s() == pytest.approx(2 * (10 + 100))
    assert display.summary() == "teachers 2/3, 10/20 epochs, about 3:40 left"


def test_what_trials_cost_is_said_to_be_a_guess_until_it_is_measured(state: SweepState, clock: Clock) -> None:
    display = Display(state, io.StringIO())
    display.begin(trial_epochs=10, trial_cost=None)
    display.teachers_begin(1, [10])
    display.teacher_started("a", "first", 10)
    clock.seconds += pace.PACE_S
    display.teacher_epoch("a", 1)
    assert display.summary() == "teachers 0/1, 1/10 epochs, about 19:00 left if trials cost as much an epoch"


def test_a_teacher_that_loses_its_process_goes_on_where_it_was(state: SweepState, clock: Clock) -> None:
    display = Display(state, io.StringIO())
    display.teachers_begin(1, [10])
    display.teacher_started("a", "first", 10)
    for epoch in (1, 2, 3):
        display.teacher_epoch("a", epoch)
    display.teacher_ended("a")
    assert (state.teacher_epochs, state.teachers) == (3, {})
    display.teacher_started("a", "first", 10)
    display.teacher_epoch("a", 4)
    assert state.teacher_epochs == 4


def test_a_terminal_shows_each_teacher_in_training_within_80_columns(
    state: SweepState, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = Terminal()
    display = LiveDisplay(state, out)
    display.begin(trial_epochs=40, trial_cost=1.0)
    display.teachers_begin(12, [20] * 9)
    display.teacher_started("a", "strength 0.25, seed 1, member 2", 20)
    clock.seconds += 1
    display.teacher_epoch("a", 5)
    display.close()
    assert "teacher, strength 0.25, seed 1, member 2  epoch 5/20" in out.getvalue()
    assert "3/12, 5/180 epochs" in out.getvalue()


def test_a_trial_that_trains_its_teachers_first_says_so(state: SweepState, clock: Clock) -> None:
    display = Display(state, io.StringIO())
    display.trials_begin(total=2, done=0)
    display.trial_started("a", TRIAL, 0, needs_teachers=True)
    display.trial_started("b", TRIAL, 0)
    assert display.summary() == "trials 0/2, 1 at their teachers"
    display.epoch("a", 1, {"val_accuracy": 0.5})
    assert "at their teachers" not in display.summary()

"""Who is waited for in a process that trials share, and for how long."""

from kd_sweep.driver.tune.lock_step.attendance import PATIENCE_S, START_PATIENCE_S, Attendance


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def attendance(num_expected: int, *asking: tuple[str, str, str]) -> tuple[Attendance, Clock]:
    """Return a process in which these callers have asked, each for a trial of a stream."""
    clock = Clock()
    here = Attendance(num_expected, clock)
    for caller, trial_id, stream_id in asking:
        here.asks(caller, trial_id, stream_id)
    return here, clock


def test_the_first_wait_for_those_that_are_expected_and_not_for_ever() -> None:
    here, clock = attendance(2, ("a", "t1", "s"))
    assert here.streams_to_run() == []
    clock.now += START_PATIENCE_S / 2
    assert here.patience_left_s() == START_PATIENCE_S / 2
    here.asks("b", "t2", "s")
    assert here.streams_to_run() == [["a", "b"]]

    here, clock = attendance(2, ("a", "t1", "s"))
    clock.now += START_PATIENCE_S
    assert here.streams_to_run() == [["a"]]
    here.answered("a", is_last=False)
    assert here.streams_to_run() == []
    here.asks("a", "t1", "s")
    assert here.streams_to_run() == [["a"]]


def test_a_stream_waits_for_its_own_trials_and_the_one_that_has_waited_longest_goes_first() -> None:
    here, clock = attendance(3, ("a", "t1", "s"), ("b", "t2", "s"), ("c", "t3", "r"))
    assert here.streams_to_run() == [["a", "b"], ["c"]]
    here.answered("a", is_last=False)
    clock.now += 1
    assert here.streams_to_run() == [["c"]]
    here.asks("a", "t1", "s")
    assert [sorted(names) for names in here.streams_to_run()] == [["a", "b"], ["c"]]


def test_who_is_silent_for_too_long_is_here_no_more() -> None:
    here, clock = attendance(2, ("a", "t1", "s"), ("b", "t2", "s"))
    for caller in ("a", "b"):
        here.answered(caller, is_last=False)
    here.asks("a", "t1", "s")
    clock.now += PATIENCE_S - 1
    assert here.streams_to_run() == []
    assert here.patience_left_s() == 1
    clock.now += 1
    assert here.streams_to_run() == [["a"]]
    assert here.trials == {"a": "t1"}
    assert here.patience_left_s() is None


def test_one_that_is_between_two_trials_may_join_any_stream() -> None:
    here, clock = attendance(2, ("a", "t1", "s"), ("b", "t2", "s"))
    here.answered("b", is_last=True)
    assert here.streams_to_run() == []
    here.asks("b", "t3", "r")
    assert here.streams_to_run() == [["a"], ["b"]]
    here.answered("b", is_last=True)
    here.leaves("b")
    assert here.streams_to_run() == [["a"]]
    here.answered("a", is_last=True)
    here.asks("b", "t4", "s")
    clock.now += PATIENCE_S
    assert here.streams_to_run() == [["b"]]


def test_a_trial_is_that_of_the_last_who_asked_for_it() -> None:
    here, _ = attendance(2, ("a", "t1", "s"), ("b", "t2", "s"))
    here.asks("c", "t1", "s")
    assert here.trials == {"b": "t2", "c": "t1"}
    assert here.streams_to_run() == [["b", "c"]]


def test_a_caller_that_asks_for_another_trial_has_left_the_one_before() -> None:
    here, clock = attendance(2, ("a", "t1", "s"), ("b", "t2", "s"))
    here.answered("a", is_last=False)  # and is stopped by the scheduler
    clock.now += 1
    here.asks("a", "t3", "r")
    assert here.trials == {"a": "t3", "b": "t2"}
    assert here.streams_to_run() == [["b"], ["a"]]

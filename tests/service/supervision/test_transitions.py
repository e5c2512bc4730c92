"""What the end of a driver means, by a table written down here."""

import dataclasses

import pytest

from kd_sweep.service.supervision.run_folder import RunEnd
from kd_sweep.service.supervision.transitions import LONGEST_PAUSE_S, Next, after_end, is_due

DONE, REFUSED, DIED = RunEnd("done"), RunEnd("refused", "teacher.model: is none"), RunEnd("died", "Ray has died")
LOCKED = RunEnd("locked", "study tiny is held by pid 1 on elsewhere")
STOPPED = RunEnd("interrupted", "stopped by SIGTERM")


def after(end: RunEnd | None, **changes: object) -> Next:
    how = {
        "wanted": "run",
        "was_stopped": False,
        "progressed": False,
        "num_failures": 0,
        "why": "SIGKILL",
        "now": 100.0,
    }
    return after_end(end, **(how | changes))


@pytest.mark.parametrize(
    ("end", "changes", "state", "wanted"),
    [
        (DONE, {}, "finished", "run"),
        (dataclasses.replace(DONE, num_failed=2), {}, "finished_with_failures", "run"),
        (dataclasses.replace(DONE, budget_used=True, num_failed=2), {}, "budget_used", "run"),
        # A study that came to its end before it could be stopped has ended.
        (DONE, {"wanted": "pause", "was_stopped": True}, "finished", "run"),
        (DONE, {"wanted": "delete", "was_stopped": True}, "finished", "delete"),
        (STOPPED, {"wanted": "pause", "was_stopped": True}, "paused", "pause"),
        (None, {"wanted": "pause", "was_stopped": True}, "paused", "pause"),
        (STOPPED, {"wanted": "cancel", "was_stopped": True}, "cancelled", "cancel"),
        (STOPPED, {"wanted": "delete", "was_stopped": True}, "cancelled", "delete"),
        # Paused, and resumed before its driver had ended: back into the queue.
        (STOPPED, {"was_stopped": True}, "queued", "run"),
        (REFUSED, {}, "failed", "run"),
        (REFUSED, {"wanted": "pause", "was_stopped": True}, "paused", "pause"),
        (STOPPED, {}, "running", "run"),
        (DIED, {}, "running", "run"),
        (None, {}, "running", "run"),
        (None, {"num_failures": 8}, "failed", "run"),
        (LOCKED, {"num_failures": 8}, "running", "run"),
        (LOCKED, {"wanted": "pause"}, "paused", "pause"),
        (None, {"num_failures": 8, "progressed": True}, "running", "run"),
    ],
)
def test_the_state_after_a_driver(end: RunEnd | None, changes: dict[str, object], state: str, wanted: str) -> None:
    following = after(end, **changes)
    assert (following.state, following.wanted) == (state, wanted)


def test_pauses_grow_and_end() -> None:
    pauses, failures = [], 0
    while (following := after(None, num_failures=failures)).state == "running":
        assert following.next_start_at is not None
        pauses.append(following.next_start_at - 100.0)
        failures = following.num_failures
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300]
    assert following.state == "failed"
    assert following.message == "its driver ended 9 times in a row before an epoch was done: SIGKILL"


def test_an_epoch_in_between_begins_the_count_anew() -> None:
    following = after(None, num_failures=5, progressed=True)
    assert (following.num_failures, following.next_start_at) == (1, 105.0)


def test_a_refusal_is_passed_on_as_it_is() -> None:
    assert after(REFUSED).message == "teacher.model: is none"
    assert after(DIED).message == "its driver ended (Ray has died); attempt 2 follows after 5 s"


def test_a_study_is_due_at_its_time_and_when_a_clock_was_set_back() -> None:
    now = 1_000_000.0
    assert is_due(None, now)
    assert is_due(now, now)
    assert not is_due(now + LONGEST_PAUSE_S, now)
    assert is_due(now + LONGEST_PAUSE_S + 1, now)

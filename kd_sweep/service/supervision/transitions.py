"""What the end of a driver means for its study: the state that follows, and whether it is started again."""

from dataclasses import dataclass

from kd_sweep.service.supervision.run_folder import RunEnd

MAX_FAILURES = 8
"""Deaths of drivers in a row, without an epoch in between, after which a study has failed."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 300.0
LOCKED_PAUSE_S = 30.0
"""While another driver runs the study, such as one that a service on another host has left."""


@dataclass(frozen=True)
class Next:
    """How a study stands once its driver has ended."""

    state: str
    wanted: str = "run"
    message: str | None = None
    num_failures: int = 0
    next_start_at: float | None = None
    """When the next driver is started; None where none follows, or the queue decides."""


def after_end(
    end: RunEnd | None, *, wanted: str, was_stopped: bool, progressed: bool, num_failures: int, why: str, now: float
) -> Next:
    """Return how a study stands after its driver.

    Args:
        end: what the driver noted; None where it could not.
        wanted: of the study: `run`, `pause`, `cancel` or `delete`.
        was_stopped: whether the service has told the driver to stop.
        progressed: whether an epoch has ended in its time.
        num_failures: deaths in a row before it.
        why: what is known of a death that the driver could not note.
        now: the time, in seconds.
    """
    if end is not None and end.kind == "done":
        state = "budget_used" if end.budget_used else "finished_with_failures" if end.num_failed else "finished"
        return Next(state, "delete" if wanted == "delete" else "run", end.message)
    if wanted != "run":
        return Next("paused" if wanted == "pause" else "cancelled", wanted)
    if was_stopped:  # and resumed meanwhile
        return Next("queued")
    if end is not None and end.kind == "refused":
        return Next("failed", message=end.message)
    if end is not None and end.kind == "locked":
        message = f"{end.message}; attempt to go on with it follows after {LOCKED_PAUSE_S:.0f} s"
        return Next("running", message=message, num_failures=num_failures, next_start_at=now + LOCKED_PAUSE_S)
    reason = why if end is None else str(end.message)
    failures = 1 if progressed else num_failures + 1
    if failures > MAX_FAILURES:
        message = f"its driver ended {failures} times in a row before an epoch was done: {reason}"
        return Next("failed", message=message, num_failures=failures)
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (failures - 1))
    message = f"its driver ended ({reason}); attempt {failures + 1} follows after {pause_s:.0f} s"
    return Next("running", message=message, num_failures=failures, next_start_at=now + pause_s)


def is_due(next_start_at: float | None, now: float) -> bool:
    """Whether a study that is to be started again is started now.

    Nobody waits longer than the longest pause: a later time is one of a clock that was set back since.
    """
    return next_start_at is None or not now < next_start_at <= now + LONGEST_PAUSE_S

"""When a trial is tried again: `retries` counts what the trial itself raised, not what happened to its machine.

A process that was killed, a host that went away or a preempted spot instance says nothing of the trial. It goes on
from its checkpoint, and only a trial that dies again and again without finishing an epoch is given up.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray import cloudpickle

from kd_sweep.driver.ray.crashes import PID, how_crashed
from kd_sweep.redaction import redacted
from kd_sweep.tables.rendering.values import escaped

MAX_LOSSES = 8
"""So many times in a row may a trial lose its process before it finishes another epoch."""

FAILURE = "failure"
"""The key of a result in which a trial's process says that the trial has raised. It raises in the next step."""

REASON = "failure_reason"
"""The key of its message beside it."""

NOTICES = ("receives a SIGTERM", "received SIGTERM")
"""How Ray says of a worker and of a node that they were told to end: the notice that preemption gives."""

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""Ray colours its tracebacks."""


@dataclass(frozen=True)
class Failure:
    """Why a trial's attempt ended."""

    status: str
    """`failed`: the trial raised. `preempted`: its worker or node was told to end. `lost`: they ended without that."""
    error: str
    """One line."""
    traceback: str

    def __post_init__(self) -> None:
        # They go into tables and onto screens, whatever a library has quoted.
        object.__setattr__(self, "error", escaped(redacted(self.error)))
        object.__setattr__(self, "traceback", redacted(self.traceback))


class Retries:
    """Tells Tune, trial by trial, how many more failures to forgive.

    Tune counts every failure alike, and decides at once. So a trial's process announces what it is about to raise,
    and the limit is set before it does.

    Args:
        retries: how often a trial that raised is tried again.
    """

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._raised: dict[str, int] = {}
        self._announced: set[str] = set()
        self._addresses: dict[str, str] = {}

    def started(self, trial: Any) -> None:
        """An attempt of Tune's `trial` begins. Processes that died before it did have been counted by Tune."""
        self._raised.setdefault(trial.trial_id, 0)

    def progressed(self, trial: Any, address: str = "") -> None:
        """The attempt has finished an epoch, on the node at this address: earlier losses no longer count."""
        self._addresses[trial.trial_id] = address
        trial.max_failures = trial.num_failures + MAX_LOSSES

    def announced(self, trial: Any) -> None:
        """The attempt says that the trial has raised."""
        self._announced.add(trial.trial_id)
        self._raised[trial.trial_id] += 1
        again = self._raised[trial.trial_id] <= self._retries
        trial.max_failures = trial.num_failures + (MAX_LOSSES if again else 0)

    def failure(self, trial: Any) -> Failure:
        """Return why the attempt that has just ended did so. Asked once an attempt."""
        error, text = _error_of(trial)
        _forget_error(trial)  # Tune would write the next attempt's below it
        address = self._addresses.pop(trial.trial_id, "")
        if trial.trial_id in self._announced:
            self._announced.discard(trial.trial_id)
            return Failure("failed", _last_line(error, text), text)
        pid = PID.search(text)
        reason = why_lost(text, address, how_crashed(int(pid[1])) if pid else None)
        told_to_end = getattr(error, "preempted", False) or any(notice in text for notice in NOTICES)
        return Failure("preempted" if told_to_end else "lost", reason, text)


def _error_of(trial: Any) -> tuple[BaseException | None, str]:
    # Tune's own getters look where it copies its files at the end of a run; the error lies here now.
    text = COLOURS.sub("", Path(trial.error_file).read_text()) if trial.error_file else ""
    if not trial.pickled_error_file or not Path(trial.pickled_error_file).exists():
        return None, text
    error: BaseException = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    return error, text


def _forget_error(trial: Any) -> None:
    for path in (trial.error_file, trial.pickled_error_file):
        if path:
            Path(path).unlink(missing_ok=True)


def _last_line(error: BaseException | None, text: str) -> str:
    if error is None:
        return text.strip().splitlines()[-1] if text.strip() else "unknown error"
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines() or ["no message"]
    return f"{type(cause).__name__}: {lines[0] if len(lines) == 1 else lines[-1]}"


def why_lost(text: str, address: str = "", crash: str | None = None) -> str:
    """Return in a few words what Ray's account of a death amounts to.

    Args:
        text: Ray's account.
        address: the node's, for accounts without one.
        crash: what the process itself said of its end, where it did.
    """
    where = re.search(r"(?:^\s*ip: |\(IP: )([^\s,]+)", text, re.MULTILINE)
    place = f" on {where[1] if where else address}" if where or address else ""
    if "low on memory" in text:
        used = re.search(r"was ([\d.]+[kMGT]?B) used / ([\d.]+[kMGT]?B)", text)
        detail = f" ({used[1]} of {used[2]} in use)" if used else ""
        return f"out of memory{place}: Ray ended a process because the node's memory ran out{detail}"
    if "its node has died" in text:
        why = re.search(r"node was terminated [a-z]+: (.+)", text)
        return f"the node{place} went away" + (f" ({why[1].strip()})" if why else "")
    if crash is not None:
        return f"the trial's process{place} crashed ({crash})"
    if "is unavailable" in text:
        return f"the connection to the trial's process{place} broke"
    if any(notice in text for notice in NOTICES):
        return f"the trial's process{place} received SIGTERM"
    if "worker process has died" in text:
        return f"the trial's process{place} was killed or crashed; the kernel does that too when memory runs out"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "the trial's process went away"

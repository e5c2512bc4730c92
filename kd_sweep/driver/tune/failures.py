"""The failures of trials, and when one is tried again: `retries` counts what the trial itself raised.

A process that was killed, a host that went away or a preempted spot instance says nothing of the trial. It goes on
from its checkpoint, and only a trial that dies again and again without finishing an epoch is given up.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from ray import cloudpickle

from kd_sweep.driver.ray.crashes import PID, how_crashed
from kd_sweep.driver.ray.lost_processes import MAX_LOSSES, NOTICES, why_lost
from kd_sweep.driver.tune.tune_trial import TuneTrial
from kd_sweep.redaction import redacted
from kd_sweep.tables.rendering.value_text import escaped

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""Ray colours its tracebacks."""


@dataclass(frozen=True)
class Failure:
    """Why a trial's attempt ended."""

    status: str
    """`failed`: the trial raised. `preempted`: its worker or node had notice to end. `lost`: they ended without."""
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
        process: that of a trial, in words.
    """

    def __init__(self, retries: int, process: str = "the trial's process") -> None:
        self._retries, self._process = retries, process
        self._raised: dict[str, int] = {}
        self._announced: set[str] = set()
        self._addresses: dict[str, str] = {}

    def started(self, trial: TuneTrial) -> None:
        """An attempt of Tune's `trial` begins. Processes that died before it did have been counted by Tune."""
        self._raised.setdefault(trial.trial_id, 0)

    def progressed(self, trial: TuneTrial, address: str = "") -> None:
        """The attempt has finished an epoch, on the node at this address: earlier losses no longer count."""
        self._addresses[trial.trial_id] = address
        trial.max_failures = trial.num_failures + MAX_LOSSES

    def announced(self, trial: TuneTrial) -> None:
        """The attempt says that the trial has raised."""
        self._announced.add(trial.trial_id)
        self._raised[trial.trial_id] += 1
        again = self._raised[trial.trial_id] <= self._retries
        trial.max_failures = trial.num_failures + (MAX_LOSSES if again else 0)

    def failure(self, trial: TuneTrial) -> Failure:
        """Return why the attempt that has just ended did so. Call it once an attempt."""
        error, text = _error_of(trial)
        _forget_error(trial)  # Tune would write the next attempt's below it
        address = self._addresses.pop(trial.trial_id, "")
        if trial.trial_id in self._announced:
            self._announced.discard(trial.trial_id)
            return Failure("failed", _last_line(error, text), text)
        pid = PID.search(text)
        reason = why_lost(text, address, how_crashed(int(pid[1])) if pid else None, self._process)
        had_notice = getattr(error, "preempted", False) or any(notice in text for notice in NOTICES)
        return Failure("preempted" if had_notice else "lost", reason, text)


def _error_of(trial: TuneTrial) -> tuple[BaseException | None, str]:
    # Tune's own getters read where it copies its files at the end of a run; the error lies here now.
    text = COLOURS.sub("", Path(trial.error_file).read_text()) if trial.error_file else ""
    if not trial.pickled_error_file or not Path(trial.pickled_error_file).exists():
        return None, text
    error: BaseException = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    return error, text


def _forget_error(trial: TuneTrial) -> None:
    for path in (trial.error_file, trial.pickled_error_file):
        if path:
            Path(path).unlink(missing_ok=True)


def _last_line(error: BaseException | None, text: str) -> str:
    if error is None:
        return text.strip().splitlines()[-1] if text.strip() else "unknown error"
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines() or ["no message"]
    return f"{type(cause).__name__}: {lines[0] if len(lines) == 1 else lines[-1]}"

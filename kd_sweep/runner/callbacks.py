"""Tune's events, carried to the study's tables and to the display. Every hook runs in the driver."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import cloudpickle, tune

from kd_sweep.runner.interrupts import Interrupt
from kd_sweep.runner.progress import Display
from kd_sweep.runner.recorder import Recorder
from kd_sweep.study.trial import TrialConfig

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
"""Ray colours its tracebacks."""


class SweepCallback(tune.Callback):
    """Records every epoch and every end of a trial, shows progress, and ends the sweep when asked to.

    Args:
        recorder: where rows go.
        display: what the user sees.
        interrupt: set by a signal.
        on_first_epoch: called with a trial's configuration once its teachers are known to be there.
    """

    def __init__(
        self,
        recorder: Recorder,
        display: Display,
        interrupt: Interrupt,
        on_first_epoch: Callable[[TrialConfig], None],
    ) -> None:
        self._recorder = recorder
        self._display = display
        self._interrupt = interrupt
        self._on_first_epoch = on_first_epoch
        self._configs: dict[str, TrialConfig] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note that the trial runs; it may be a later attempt."""
        config = TrialConfig.model_validate_json(trial.config["trial"])
        trial_id = config.trial_id
        self._configs[trial_id] = config
        self._recorder.started(config)
        self._display.trial_started(trial_id, config, self._recorder.last_epoch(trial_id))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Record an epoch."""
        if "epoch" not in result:
            return
        trial_id = trial.config["trial_id"]
        if (config := self._configs.get(trial_id)) is not None:
            self._on_first_epoch(config)
        self._recorder.epoch(trial_id, result | {"host": result["hostname"]})
        self._display.epoch(trial_id, result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record whether the trial ran all its epochs or the scheduler stopped it. Tune may say it twice."""
        trial_id = trial.config["trial_id"]
        config = self._configs.pop(trial_id, None)
        if config is None:
            return
        complete = self._recorder.last_epoch(trial_id) >= config.student.epochs
        self._end(trial_id, "completed" if complete else "stopped", None, None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record the error of a trial that has used up its retries."""
        trial_id = trial.config["trial_id"]
        if self._configs.pop(trial_id, None) is None:
            return
        self._end(trial_id, "failed", *describe_error(trial))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Write what is due, redraw, and stop if a signal has come."""
        self._recorder.write_due()
        self._display.refresh()
        self._interrupt.check()

    def _end(self, trial_id: str, status: str, error: str | None, traceback: str | None) -> None:
        self._recorder.ended(trial_id, status, error, traceback)
        self._display.trial_ended(trial_id, status, error)

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks; nothing ever reads that copy


def describe_error(trial: Any) -> tuple[str, str]:
    """Return a trial's error as one line, and as the whole traceback of its worker."""
    # Tune's own getters look where it copies its files at the end of a run; the error lies here now.
    text = COLOURS.sub("", Path(trial.error_file).read_text()) if trial.error_file else ""
    if not trial.pickled_error_file:
        return text.strip().splitlines()[-1] if text.strip() else "unknown error", text
    error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines() or ["no message"]
    return f"{type(cause).__name__}: {lines[0] if len(lines) == 1 else lines[-1]}", text

"""What a person sees while a sweep runs: live bars on a terminal, plain lines everywhere else."""

import sys
import time
from dataclasses import dataclass, field
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kd_sweep.runner.recorder import UNSUCCESSFUL
from kd_sweep.study.spec import Objective
from kd_sweep.study.trial import TrialConfig

REFRESH_S = 0.25
PLAIN_S = 15.0
"""How often plain output says where the sweep stands when nothing else has happened."""
PACE_S = 60.0
"""After so long, or the first trial that ends, the pace so far is worth telling."""


@dataclass
class RunningTrial:
    """A trial that has started and not ended."""

    label: str
    num_epochs: int
    epoch: int = 0
    value: float | None = None
    epochs_before: int = 0
    """Epochs that it had when this run began."""

    @property
    def progress(self) -> float:
        """Which part of the trial this run has done."""
        return (self.epoch - self.epochs_before) / self.num_epochs

    @property
    def rest(self) -> float:
        """Which part of the trial is left."""
        return 1 - self.epoch / self.num_epochs


@dataclass
class SweepState:
    """Counts and values that both displays draw from."""

    study: str
    objective: Objective
    teachers_total: int = 0
    teachers_done: int = 0
    trials_total: int = 0
    trials_done: int = 0
    trials_failed: int = 0
    trials_stopped: int = 0
    running: dict[str, RunningTrial] = field(default_factory=dict)
    best: tuple[float, str] | None = None
    started: float = field(default_factory=time.monotonic)
    _work_started: float | None = None
    _num_ended: int = 0
    _ended_progress: float = 0.0

    def trials_begin(self, total: int, done: int) -> None:
        """Say how many trials the study has, and how many of them were done before this run."""
        self.trials_total, self.trials_done = total, done
        self._work_started = time.monotonic()

    def trial_started(self, trial_id: str, config: TrialConfig, epochs_done: int) -> None:
        """Take a trial into the list of running ones, for its first attempt in this run or a later one."""
        earlier = self.running.get(trial_id)
        before = epochs_done if earlier is None else earlier.epochs_before
        self.running[trial_id] = RunningTrial(
            describe(config), config.student.epochs, epochs_done, epochs_before=before
        )

    def trial_ended(self, trial_id: str, status: str) -> RunningTrial | None:
        """Count a trial as ended, and return it; a trial that was stopped early has done its part."""
        self.trials_done += 1
        self.trials_failed += status in UNSUCCESSFUL
        self.trials_stopped += status == "stopped"
        trial = self.running.pop(trial_id, None)
        if trial is not None:
            self._num_ended += 1
            self._ended_progress += trial.progress + trial.rest
        return trial

    def eta_s(self) -> float | None:
        """Return the seconds that the remaining trials will take at this run's pace; None before there is a pace."""
        if self._work_started is None:
            return None
        elapsed = time.monotonic() - self._work_started
        done = self._ended_progress + sum(trial.progress for trial in self.running.values())
        if done <= 0 or (elapsed < PACE_S and not self._num_ended):
            return None
        waiting = self.trials_total - self.trials_done - len(self.running)
        return elapsed / done * max(waiting + sum(trial.rest for trial in self.running.values()), 0.0)


class Display:
    """Plain lines: one for each teacher, each trial that ends, and a sign of life in between."""

    def __init__(self, state: SweepState, out: TextIO) -> None:
        self.state = state
        self._out = out
        self._last_line = time.monotonic()

    def note(self, text: str) -> None:
        """Say something that happened."""
        self._last_line = time.monotonic()
        print(f"[{duration(time.monotonic() - self.state.started)}] {text}", file=self._out, flush=True)

    def teachers_begin(self, total: int, done: int) -> None:
        """Say how many teachers the study needs and how many are there already."""
        self.state.teachers_total, self.state.teachers_done = total, done
        if done < total:
            self.note(f"teachers: {total - done} to train, {done} of {total} there already")

    def trials_begin(self, total: int, done: int) -> None:
        """Say how many trials the study has and how many of them are done already."""
        self.state.trials_begin(total, done)
        self.note(f"trials: {total - done} to run, {done} of {total} done already")

    def teacher_done(self, label: str, accuracy: float) -> None:
        """Say that a teacher has been trained."""
        self.state.teachers_done += 1
        counts = f"{self.state.teachers_done}/{self.state.teachers_total}"
        self.event(f"teacher {counts}: {label}, val_accuracy {accuracy:.4f}")

    def trial_started(self, trial_id: str, config: TrialConfig, epochs_done: int) -> None:
        """Take a trial into the list of running ones."""
        self.state.trial_started(trial_id, config, epochs_done)
        self.refresh()

    def epoch(self, trial_id: str, row: dict[str, Any]) -> None:
        """Show a trial's newest epoch."""
        metric = self.state.objective.metric
        if trial := self.state.running.get(trial_id):
            trial.epoch, trial.value = row["epoch"], row.get(metric)
            self._keep_best(trial)
        self.refresh()

    def trial_ended(self, trial_id: str, status: str, error: str | None) -> None:
        """Say how a trial ended."""
        state = self.state
        trial = state.trial_ended(trial_id, status)
        label = trial.label if trial else trial_id
        tail = f": {error}" if error else ""
        if trial and trial.value is not None:
            tail = f" at epoch {trial.epoch}, {state.objective.metric} {trial.value:.4f}{tail}"
        said = f"trial {state.trials_done}/{state.trials_total} {status}: {label}{tail}"
        if status in UNSUCCESSFUL:
            self.note(said)
        else:
            self.event(said)

    def event(self, text: str) -> None:
        """Show an event that the bars of a terminal show by themselves."""
        self.note(text)

    def refresh(self) -> None:
        """Give a sign of life if the last line is old."""
        if time.monotonic() - self._last_line > PLAIN_S:
            self.note(self.summary())

    def summary(self) -> str:
        """Return one line: counts, best so far, time left."""
        state = self.state
        if not state.trials_total:
            return f"teachers {state.teachers_done}/{state.teachers_total}"
        parts = [f"trials {state.trials_done}/{state.trials_total}"]
        if state.trials_stopped:
            parts.append(f"{state.trials_stopped} stopped early")
        if state.trials_failed:
            parts.append(f"{state.trials_failed} failed")
        if state.best:
            parts.append(f"best {state.objective.metric} {state.best[0]:.4f} ({state.best[1]})")
        if (eta := state.eta_s()) is not None and state.trials_done < state.trials_total:
            parts.append(f"about {duration(eta)} left")
        return ", ".join(parts)

    def close(self) -> None:
        """End the display."""

    def _keep_best(self, trial: RunningTrial) -> None:
        if trial.value is None:
            return
        sign = 1.0 if self.state.objective.mode == "max" else -1.0
        if self.state.best is None or sign * trial.value > sign * self.state.best[0]:
            self.state.best = (trial.value, trial.label)


class LiveDisplay(Display):
    """Bars for teachers and trials, a row for each running trial, redrawn in place."""

    def __init__(self, state: SweepState, out: TextIO) -> None:
        super().__init__(state, out)
        self._live = Live(self._picture(), console=Console(file=out), auto_refresh=False, transient=True)
        self._live.start()
        self._drawn = 0.0

    def note(self, text: str) -> None:
        """Print above the bars."""
        self._live.console.print(text, highlight=False, markup=False)

    def event(self, text: str) -> None:
        """Print nothing: the bars show it."""
        self.refresh()

    def refresh(self) -> None:
        """Redraw, but not too often."""
        if time.monotonic() - self._drawn > REFRESH_S:
            self._drawn = time.monotonic()
            self._live.update(self._picture(), refresh=True)

    def close(self) -> None:
        """Take the bars away; what follows is the result."""
        self._live.stop()

    def _picture(self) -> RenderableType:
        state = self.state
        bars = Table.grid(padding=(0, 1))
        for name, done, total in (
            ("teachers", state.teachers_done, state.teachers_total),
            ("trials", state.trials_done, state.trials_total),
        ):
            if total:
                bars.add_row(name, ProgressBar(total=total, completed=done, width=40), f"{done}/{total}")
        running = Table.grid(padding=(0, 2))
        for trial in list(state.running.values())[:12]:
            value = "" if trial.value is None else f"{state.objective.metric} {trial.value:.4f}"
            running.add_row(f"  {trial.label}", f"epoch {trial.epoch}/{trial.num_epochs}", value)
        if len(state.running) > 12:
            running.add_row(f"  … and {len(state.running) - 12} more", "", "")
        elapsed = duration(time.monotonic() - state.started)
        head = Text(f"{state.study}  {elapsed}  Ctrl-C stops; the study can be resumed", style="bold")
        return Group(head, bars, running, Text(self.summary() if state.trials_total else ""))


def make_display(study: str, objective: Objective, out: TextIO | None = None) -> Display:
    """Return the display that fits where the output goes."""
    out = out or sys.stderr
    state = SweepState(study, objective)
    return LiveDisplay(state, out) if out.isatty() else Display(state, out)


def describe(config: TrialConfig) -> str:
    """Return a trial's place in the study as a person would say it."""
    size = f"{config.ensemble_size} teacher{'s' if config.ensemble_size > 1 else ''}"
    student = f", student {config.student_strength:g}" if config.student_strength is not None else ""
    strengths = " + ".join(f"{strength:g}" for strength in config.teacher_strengths or [config.augmentation_strength])
    return f"strength {strengths}{student}, {size}, seed {config.seed}"


def duration(seconds: float) -> str:
    """Return m:ss, or h:mm:ss from an hour on."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"

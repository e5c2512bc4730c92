"""The display of a running sweep: live bars on a terminal, plain lines everywhere else."""

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TextIO, assert_never

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kd_sweep.driver.events import (
    Event,
    LastWords,
    RunBegan,
    SeedsJudged,
    TeacherBegan,
    TeacherEpoch,
    TeacherLost,
    TeachersBegan,
    TeacherTrained,
    Tick,
    Told,
    TrialBegan,
    TrialEnded,
    TrialEpoch,
    TrialsBegan,
    WorkCounted,
)
from kd_sweep.driver.pace import RunningTrial, SweepState
from kd_sweep.driver.recorder import UNSUCCESSFUL
from kd_sweep.study.spec import Objective
from kd_sweep.study.trial import TrialConfig

REFRESH_S = 0.25
BAR_WIDTH = 40
PLAIN_S = 15.0
"""How often plain output says where the sweep stands when nothing else has happened."""


class Display:
    """Plain lines: one for each teacher, each trial that ends, and a sign of life in between."""

    def __init__(self, state: SweepState, out: TextIO) -> None:
        self.state = state
        self._out = out
        self._last_line = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Show an event of the run."""
        match event:
            case Tick() | RunBegan():
                self.refresh()
            case Told(text, is_routine):
                (self.event if is_routine else self.note)(text)
            case WorkCounted(trial_epochs, trial_cost):
                self.begin(trial_epochs, trial_cost)
            case TeachersBegan(total, missing_epochs):
                self.teachers_begin(total, missing_epochs)
            case TeacherBegan(teacher_id, label, num_epochs):
                self.teacher_started(teacher_id, label, num_epochs)
            case TeacherEpoch(teacher_id, epoch):
                self.teacher_epoch(teacher_id, epoch)
            case TeacherLost(teacher_id):
                self.teacher_ended(teacher_id)
            case TeacherTrained(teacher_id, label, val_accuracy):
                self.teacher_done(teacher_id, label, val_accuracy)
            case TrialsBegan(total, done):
                self.trials_begin(total, done)
            case SeedsJudged(text, num_trials, num_teachers, missing_epochs):
                self.seeds_judged(text, num_trials, num_teachers, missing_epochs)
            case TrialBegan(trial_id, config, epochs_done, needs_teachers):
                self.trial_started(trial_id, config, epochs_done, needs_teachers=needs_teachers)
            case TrialEpoch(trial_id, epoch, metrics):
                self.epoch(trial_id, epoch, metrics)
            case TrialEnded(trial_id, status, error):
                self.trial_ended(trial_id, status, error)
            case LastWords():
                self.close()  # the driver prints them
            case _:
                assert_never(event)

    def note(self, text: str) -> None:
        """Say something that happened."""
        self._last_line = time.monotonic()
        print(f"[{duration(time.monotonic() - self.state.started)}] {text}", file=self._out, flush=True)

    def begin(self, trial_epochs: int, trial_cost: float | None) -> None:
        """Say how many epochs of trials there are to run, and what one costs in epochs of a teacher, where known."""
        self.state.trial_epochs_left, self.state.trial_cost = trial_epochs, trial_cost

    def teachers_begin(self, total: int, missing_epochs: Sequence[int]) -> None:
        """Say how many teachers the study needs, and of how many epochs each is that is not there already."""
        done = total - len(missing_epochs)
        self.state.teachers_total, self.state.teachers_done = total, done
        self.state.teacher_epochs_total = sum(missing_epochs)
        if done < total:
            self.note(f"teachers: {total - done} to train, {done} of {total} there already")

    def teacher_started(self, teacher_id: str, label: str, num_epochs: int) -> None:
        """Take a teacher into the list of those in training."""
        self.state.teacher_started(teacher_id, label, num_epochs)
        self.refresh()

    def teacher_epoch(self, teacher_id: str, epoch: int) -> None:
        """Show a teacher's newest epoch."""
        self.state.teacher_epoch(teacher_id, epoch)
        self.refresh()

    def teacher_ended(self, teacher_id: str) -> None:
        """Show no longer a teacher whose process has gone."""
        self.state.teachers.pop(teacher_id, None)

    def trials_begin(self, total: int, done: int) -> None:
        """Say how many trials the study has and how many of them are done already."""
        self.state.trials_begin(total, done)
        self.note(f"trials: {total - done} to run, {done} of {total} done already")

    def seeds_judged(self, text: str, num_trials: int, num_teachers: int, missing_epochs: Sequence[int]) -> None:
        """Say what the seeds so far have decided, and how many trials are added for what they have not."""
        self.state.work_added(num_trials, num_teachers, missing_epochs)
        self.note(f"{text}; {f'{num_trials} trials of another seed' if num_trials else 'no further seed'}")

    def teacher_done(self, teacher_id: str, label: str, accuracy: float) -> None:
        """Say that a teacher has been trained."""
        self.state.teacher_done(teacher_id)
        counts = f"{self.state.teachers_done}/{self.state.teachers_total}"
        self.event(f"teacher {counts}: {label}, val_accuracy {accuracy:.4f}")

    def trial_started(
        self, trial_id: str, config: TrialConfig, epochs_done: int, *, needs_teachers: bool = False
    ) -> None:
        """Take a trial into the list of running ones; some train their teachers first."""
        self.state.trial_started(trial_id, config, epochs_done, needs_teachers=needs_teachers)
        self.refresh()

    def epoch(self, trial_id: str, epoch: int, metrics: Mapping[str, float | None]) -> None:
        """Show a trial's newest epoch."""
        if trial := self.state.running.get(trial_id):
            trial.epoch, trial.value = epoch, metrics[self.state.objective.metric]
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
        line = f"trial {state.trials_done}/{state.trials_total} {status}: {label}{tail}"
        if status in UNSUCCESSFUL:
            self.note(line)
        else:
            self.event(line)

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
            return self._teachers_summary()
        parts = [f"trials {state.trials_done}/{state.trials_total}"]
        if state.num_training_teachers:
            parts.append(f"{state.num_training_teachers} at their teachers")
        if state.trials_stopped:
            parts.append(f"{state.trials_stopped} stopped early")
        if state.trials_failed:
            parts.append(f"{state.trials_failed} failed")
        if state.best:
            parts.append(f"best {state.objective.metric} {state.best[0]:.4f} ({state.best[1]})")
        if (eta := state.eta_s()) is not None and state.trials_done < state.trials_total:
            parts.append(f"about {duration(eta)} left")
        return ", ".join(parts)

    def _teachers_summary(self) -> str:
        state = self.state
        line = f"teachers {state.teachers_done}/{state.teachers_total}"
        if state.teacher_epochs_total:
            line += f", {state.teacher_epochs}/{state.teacher_epochs_total} epochs"
        if (eta := state.eta_s()) is None:
            return line
        known = state.trial_cost is not None or not state.trial_epochs_left
        return f"{line}, about {duration(eta)} left{'' if known else ' if trials cost as much an epoch'}"

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
        self._live = Live(self._drawing(), console=Console(file=out), auto_refresh=False, transient=True)
        self._drawn = 0.0

    def teachers_begin(self, total: int, missing_epochs: Sequence[int]) -> None:
        """Show the bars from now on."""
        super().teachers_begin(total, missing_epochs)
        self._live.start()

    def note(self, text: str) -> None:
        """Print above the bars."""
        self._live.console.print(text, highlight=False, markup=False)

    def event(self, text: str) -> None:
        """Print nothing: the bars show it."""
        self.refresh()

    def refresh(self) -> None:
        """Redraw, but not too often."""
        if self._live.is_started and time.monotonic() - self._drawn > REFRESH_S:
            self._drawn = time.monotonic()
            self._live.update(self._drawing(), refresh=True)

    def close(self) -> None:
        """Take the bars away; what follows is the result."""
        self._live.stop()

    def _drawing(self) -> RenderableType:
        state = self.state
        bars = Table.grid(padding=(0, 1))
        if state.teachers_total:
            counts = f"{state.teachers_done}/{state.teachers_total}"
            if state.teacher_epochs_total:
                counts += f", {state.teacher_epochs}/{state.teacher_epochs_total} epochs"
            total, done = state.teacher_epochs_total or 1, state.teacher_epochs if state.teacher_epochs_total else 1
            bars.add_row("teachers", ProgressBar(total=total, completed=done, width=BAR_WIDTH), counts)
        if state.trials_total:
            bar = ProgressBar(total=state.trials_total, completed=state.trials_done, width=BAR_WIDTH)
            bars.add_row("trials", bar, f"{state.trials_done}/{state.trials_total}")
        running = Table.grid(padding=(0, 2))
        for teacher in list(state.teachers.values())[:12]:
            running.add_row(f"  teacher, {teacher.label}", f"epoch {teacher.epoch}/{teacher.num_epochs}")
        for trial in list(state.running.values())[:12]:
            value = "" if trial.value is None else f"{state.objective.metric} {trial.value:.4f}"
            at = "its teachers" if trial.is_training_teachers else f"epoch {trial.epoch}/{trial.num_epochs}"
            running.add_row(f"  {trial.label}", at, value)
        if len(state.running) > 12:
            running.add_row(f"  … and {len(state.running) - 12} more", "", "")
        elapsed = duration(time.monotonic() - state.started)
        head = Text(f"{state.study}  {elapsed}  Ctrl-C stops; the study can be resumed", style="bold")
        return Group(head, bars, running, Text(self.summary()))


class RunDisplay:
    """The display of a run that may begin, as a context and as what is told of the run's events.

    Args:
        out: where it shows them; standard error when None.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out
        self._display: Display | None = None

    def __call__(self, event: Event) -> None:
        """Show an event; with the first one the display is made."""
        if isinstance(event, RunBegan):
            self._display = make_display(event.study, event.objective, self._out)
        elif self._display is not None:
            self._display(event)

    def __enter__(self) -> "RunDisplay":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._display is not None:
            self._display.close()


def make_display(study: str, objective: Objective, out: TextIO | None = None) -> Display:
    """Return the display that fits where the output goes."""
    out = out or sys.stderr
    state = SweepState(study, objective)
    return LiveDisplay(state, out) if out.isatty() else Display(state, out)


def duration(seconds: float) -> str:
    """Return m:ss, or h:mm:ss from an hour on."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"

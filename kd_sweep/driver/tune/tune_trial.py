"""Tune's own trial as a sweep uses it: its attributes, the configuration it is given, and the results it reports.

For Tune a teacher is a trial, too: both run in the same processes.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from kd_sweep.driver.worker_messages import (
    Assignment,
    EpochDone,
    EpochReport,
    EpochsInCheckpoint,
    Message,
    TeacherAssignment,
)
from kd_sweep.study.trial import TeacherConfig


class KeptResults(Protocol):
    """What Tune keeps of what a trial has reported, until the sweep ends."""

    last_result: dict[str, Any]
    """With Tune's own keys and a copy of the configuration."""
    metric_analysis: dict[str, dict[str, Any]]
    """Least, greatest and mean values of numbers."""
    metric_n_steps: dict[str, dict[str, Any]]
    """The newest values of numbers."""


class TuneTrial(Protocol):
    """The attributes of Tune's trials that a sweep uses."""

    trial_id: str
    """Tune's own; a trial of the study has another one in each run."""
    config: dict[str, Any]
    """As `config_of` makes it."""
    max_failures: int
    """How many failures Tune forgives."""

    @property
    def run_metadata(self) -> KeptResults:
        """What it has reported."""

    @property
    def num_failures(self) -> int:
        """How many there were."""

    @property
    def error_file(self) -> str | None:
        """Path of the newest failure's traceback."""

    @property
    def pickled_error_file(self) -> str | None:
        """Path of the newest failure's exception."""


ASSIGNMENT = "assignment"
TRIAL_ID = "trial_id"


def config_of(assignment: Assignment | TeacherAssignment) -> dict[str, Any]:
    """Return what Tune takes for the configuration of a trial: what is assigned, and the id of the trial or teacher."""
    if isinstance(assignment, TeacherAssignment):
        return {TRIAL_ID: assignment.teacher.teacher_id, ASSIGNMENT: assignment}
    return {TRIAL_ID: assignment.trial.trial_id, ASSIGNMENT: assignment}


def assignment_in(config: Mapping[str, Any]) -> Assignment:
    """Return the trial's assignment of which `config_of` made this."""
    assignment: Assignment = config[ASSIGNMENT]
    return assignment


def teacher_in(config: Mapping[str, Any]) -> TeacherConfig | None:
    """Return the teacher of whose assignment `config_of` made this; None where it is that of a trial."""
    assignment = config[ASSIGNMENT]
    return assignment.teacher if isinstance(assignment, TeacherAssignment) else None


def study_trial_id(trial: TuneTrial) -> str:
    """Return the id that the study knows Tune's trial by."""
    trial_id: str = trial.config[TRIAL_ID]
    return trial_id


MESSAGE = "message"
"""The one key of a trial's results that is ours. Tune adds its own to it, such as `node_ip`."""


def result_of(message: Message, *, done: bool = False) -> dict[str, Any]:
    """Return what a step of Tune's trainable returns to report this; ``done`` ends the trial."""
    return {MESSAGE: message, "done": done}


def message_in(result: Mapping[str, Any]) -> Message | None:
    """Return what a trial reported in this result; None for Tune's placeholder of a trial that reported nothing."""
    return result.get(MESSAGE)


def reports_in(result: Mapping[str, Any]) -> tuple[EpochReport, ...]:
    """Return the epochs that this result reports, the newest last; for the first time or again."""
    match message_in(result):
        case EpochDone(report):
            return (report,)
        case EpochsInCheckpoint(reports):
            return reports
        case _:
            return ()


def forget_results(trial: TuneTrial) -> None:
    """Take from a trial that has ended what Tune keeps of its results, some 40 kB: the tables have them."""
    kept = trial.run_metadata
    kept.last_result = {"done": True}
    kept.metric_analysis = {}
    kept.metric_n_steps = {}

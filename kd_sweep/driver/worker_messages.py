"""The messages between a driver and its workers: what a worker is given, and what it reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from kd_sweep.distill.teacher_records import TeacherRecord
from kd_sweep.study.metric_catalogue import LIST_METRICS, REPORTED_METRICS
from kd_sweep.study.spec import Objective
from kd_sweep.study.trial import TeacherConfig, TrialConfig


@dataclass(frozen=True)
class WorkerSettings:
    """What every worker of a study needs beside its trial or teacher."""

    root: str
    """Location of the results root."""
    study: str
    """Its name."""
    device: str
    """`cpu` or `cuda`."""
    num_threads: int
    """Of the CPU."""
    plugins: tuple[str, ...] = ()
    """Modules to import first, from the study's folder."""
    plugins_digest: str | None = None
    """Of their source."""
    best_by: Objective | None = None
    """By what a trial's best epoch is the best, where its checkpoint is kept."""
    lock_step: bool = False
    """Whether students learn in the processes that their trials share, in lock step."""


class _Unchanging:
    """What is not copied: Tune makes four deep copies of each configuration."""

    def __deepcopy__(self, memo: object) -> Self:
        return self


@dataclass(frozen=True)
class Assignment(_Unchanging):
    """A trial that a worker shall run."""

    trial: TrialConfig
    settings: WorkerSettings
    suggestion: int | None = None
    """Its number among what an adaptive sampler has suggested."""
    generation: int | None = None
    """Of a genetic sampler."""
    known_epochs: int = 0
    """So many epochs of the trial does the driver have. What its checkpoint has beyond them is reported first."""

    def __repr__(self) -> str:  # Tune writes it out several times a trial
        return f"<trial {self.trial.trial_id}>"


@dataclass(frozen=True)
class TeacherAssignment(_Unchanging):
    """A teacher that a worker shall train."""

    teacher: TeacherConfig
    settings: WorkerSettings

    def __repr__(self) -> str:
        return f"<teacher {self.teacher.teacher_id}>"


_ROW = {*REPORTED_METRICS, *LIST_METRICS} | {
    *("epoch", "metrics_version", "learning_rate", "epoch_s", "train_images_per_s"),
}
"""Keys of a trial's row for an epoch that are no extra metrics."""


@dataclass(frozen=True)
class EpochReport:
    """What a trial's process reports of an epoch."""

    epoch: int
    """From 1."""
    metrics: Mapping[str, float | None]
    """Every one of `REPORTED_METRICS`, None where it has no meaning, and the extra ones of the study."""
    metrics_version: int | None
    lists: Mapping[str, list[float | None] | None]
    """Every one of `LIST_METRICS`; None where it has no meaning, or the study does not ask for it."""
    learning_rate: float | None
    """Of the epoch's last step."""
    epoch_s: float
    """Training and evaluation."""
    train_images_per_s: float | None
    """Of training alone."""
    host: str | None = None
    pid: int | None = None
    """Of the process; both are unknown for what a checkpoint says of earlier epochs."""

    @classmethod
    def of_row(cls, row: Mapping[str, Any], *, host: str | None = None, pid: int | None = None) -> "EpochReport":
        """Return the report of a row as `distill.trial.trial_epochs` yields it and checkpoints hold it.

        Metrics that were unknown when an old checkpoint was written are None.
        """
        return cls(
            epoch=row["epoch"],
            metrics={name: row.get(name) for name in REPORTED_METRICS}
            | {name: value for name, value in row.items() if name not in _ROW},
            metrics_version=row.get("metrics_version"),
            lists={name: row.get(name) for name in LIST_METRICS},
            learning_rate=row.get("learning_rate"),
            epoch_s=row["epoch_s"],
            train_images_per_s=row.get("train_images_per_s"),
            host=host,
            pid=pid,
        )

    def measured(self) -> dict[str, float | None]:
        """Return the metrics, and the version of their definitions, by their columns."""
        return {"metrics_version": self.metrics_version, **self.metrics}

    def columns(self) -> dict[str, Any]:
        """Return everything by the columns of the `epochs` table."""
        return {
            "epoch": self.epoch,
            **self.measured(),
            **self.lists,
            "learning_rate": self.learning_rate,
            "epoch_s": self.epoch_s,
            "train_images_per_s": self.train_images_per_s,
            "host": self.host,
            "pid": self.pid,
        }


@dataclass(frozen=True)
class EpochDone:
    """A trial has finished an epoch; its checkpoint is on disk."""

    report: EpochReport


@dataclass(frozen=True)
class EpochsInCheckpoint:
    """The epochs that a trial's checkpoint has and the driver has not.

    An earlier attempt died before it reported them, or its driver before it wrote them down.
    """

    reports: tuple[EpochReport, ...]
    """In order; at least one."""


@dataclass(frozen=True)
class TrialFailed:
    """A trial or teacher has raised. Its process raises the same in the next step."""

    kind: str
    """Name of the exception's class."""
    message: str
    is_of_the_system: bool = False
    """Whether the operating system has refused something, which it may grant the next time."""


@dataclass(frozen=True)
class TeacherStarted:
    """A teacher has got its process."""


@dataclass(frozen=True)
class TeacherEpochDone:
    """A teacher has finished an epoch, counted from 1; its checkpoint is on disk."""

    epoch: int


@dataclass(frozen=True)
class ProcessWanted:
    """A trial has no process that it shares with others at its place."""

    node_id: str
    """Ray's, of the trial's node."""
    gpus: str
    """The trial's, as Ray numbers those of the node; empty on a CPU."""
    number: int
    """How many there have been before, and have died."""


Message = (
    EpochDone | EpochsInCheckpoint | TrialFailed | ProcessWanted | TeacherStarted | TeacherEpochDone | TeacherRecord
)
"""What a worker reports; a teacher's record is the last of it."""

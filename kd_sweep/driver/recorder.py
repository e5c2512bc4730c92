"""The recorder of a study: what happens in a sweep becomes rows of its tables. One a study, in the driver."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kd_sweep.distill.teacher_records import TeacherRecord
from kd_sweep.driver.worker_messages import EpochReport
from kd_sweep.study.extra_metrics import extra_columns
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.study.recorded_trials import RecordedTrials
from kd_sweep.study.space.conditions import Conditions
from kd_sweep.study.space.points import point_of
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TrialConfig
from kd_sweep.tables.schema import FINISHED, column_name
from kd_sweep.tables.writer import StudyWriter
from kd_sweep.version import __version__

UNSUCCESSFUL = ("failed", "lost", "preempted")
"""A trial that is left in one of these ended by no decision of ours; the next run tries it again."""

MEASURED = ("metrics_version", *REPORTED_METRICS)

NOTHING_YET: dict[str, None] = dict.fromkeys(
    (*MEASURED, "last_epoch", "train_s", "host", "objective", "best_epoch", "best_objective")
)
"""What a trial's row says of its epochs when it has none."""

SETTINGS = ("augmentation_strength", "ensemble_size", "seed")


class Recorder:
    """Keeps the rows of trials, epochs and teachers true to what has happened.

    Args:
        writer: the study's tables.
        spec: the study.
        history: returns the epochs in a trial's newest checkpoint.
    """

    def __init__(
        self, writer: StudyWriter, spec: StudySpec, history: Callable[[TrialConfig], list[EpochReport]]
    ) -> None:
        self._writer = writer
        self._history = history
        self._spec = spec
        self._objectives = spec.objectives
        self._objective = spec.objectives[0]
        self._conditions = Conditions(spec)
        self._search = tuple(name for name in spec.search if name not in SETTINGS)
        self._configs: dict[str, TrialConfig] = {}
        self._recorded = RecordedTrials()
        self._known: dict[str, TrialConfig] = {}
        self._here: dict[int, Any] = {}
        """The data where it is now, of each section of which trials have the same object."""
        self._latest: datetime | None = None
        self._extra = extra_columns(spec.metrics.extra)

    def trials(self) -> Mapping[str, Mapping[str, Any]]:
        """Return every trial's row by its id."""
        return self._writer.trials

    def config(self, trial_id: str) -> TrialConfig:
        """Return the configuration of a trial that the tables hold, with the dataset where it is now."""
        if trial_id not in self._known:
            config = self._recorded.trial(self._writer.trials[trial_id])
            data = self._here.setdefault(id(config.data), config.data.model_copy(update=self._spec.data.origin))
            self._known[trial_id] = config.model_copy(update={"data": data})
        return self._known[trial_id]

    def epochs_table(self, columns: Sequence[str]) -> pa.Table:
        """Return these columns of every epoch, sorted by trial and epoch."""
        return self._writer.epochs_table(columns)

    def objectives_of(self, trial_id: str) -> tuple[float, ...] | None:
        """Return the last value of each objective, None where one is missing."""
        values = tuple(self._writer.trials[trial_id].get(objective.metric) for objective in self._objectives)
        return None if None in values else values  # type: ignore[return-value]

    def status(self, trial_id: str) -> str | None:
        """Return the trial's status in the tables, None where they have none."""
        row = self._writer.trials.get(trial_id)
        return row["status"] if row else None

    def trained_s(self) -> float:
        """Return how long the study has trained: its trials, and those of its teachers that it did not find trained."""
        began = self._writer.study_row.get("created_at")
        teachers = (row for row in self._writer.teachers.values() if began is None or row["finished_at"] >= began)
        return float(sum(row.get("train_s", 0.0) for row in [*self._writer.trials.values(), *teachers]))

    def is_whole(self, trial_id: str) -> bool:
        """Whether a trial is finished and the tables have the epochs that its row speaks of."""
        row = self._writer.trials.get(trial_id) or {}
        return row.get("status") in FINISHED and 0 < (row.get("last_epoch") or 0) <= self.last_epoch(trial_id)

    def reconcile(self, config: TrialConfig) -> None:
        """Make a trial's rows agree with each other, from its checkpoint where its epochs are missing.

        An unfinished trial gets the epochs that only its checkpoint knows, and is finished if that was all. A finished
        one gets back epochs that were lost with a damaged file; where its checkpoint is lost too, it must run again.
        """
        trial_id = config.trial_id
        self._configs[trial_id] = config
        row = self._writer.trials.get(trial_id) or {}
        stated = row.get("last_epoch") or 0
        is_finished = row.get("status") in FINISHED
        if self.is_whole(trial_id):
            return
        self._catch_up(config, stated if is_finished else None)
        if self.is_whole(trial_id):
            return
        last_epoch = self.last_epoch(trial_id)
        if last_epoch == 0:
            if stated:
                self._writer.upsert_trial({"trial_id": trial_id, "status": "interrupted", "rung": None} | NOTHING_YET)
            return
        status = earlier if (earlier := self.status(trial_id)) in UNSUCCESSFUL else "interrupted"
        self._writer.upsert_trial(self._identity(config) | self._summary(trial_id) | {"status": status, "rung": None})
        if last_epoch >= config.student.epochs:
            self.ended(trial_id, "completed")

    def rank_anew(self) -> None:
        """Take what trials' rows say of their objective anew where the study's first objective is another now."""
        stored = json.loads(self._writer.study_row.get("objectives") or "[]")
        if not stored or stored[0] == self._objective.model_dump():
            return
        epochs = self._writer.epochs_table(["trial_id", "epoch", self._objective.metric]).to_pylist()
        for trial_id, rows in groupby(epochs, key=itemgetter("trial_id")):
            if trial_id in self._writer.trials:
                self._writer.upsert_trial({"trial_id": trial_id, **self._score(list(rows))})

    def has_lost(self) -> list[str]:
        """Return the ids of trials that have epochs and no row: their table was damaged."""
        return sorted(self._writer.last_epochs.keys() - self._writer.trials.keys())

    def started(self, config: TrialConfig, suggestion: int | None = None, generation: int | None = None) -> None:
        """A trial has got its process.

        Args:
            config: the trial.
            suggestion: its number among what an adaptive sampler has suggested.
            generation: of a genetic one.
        """
        self._configs[config.trial_id] = config
        earlier = self._writer.trials.get(config.trial_id) or {}
        self._writer.upsert_trial(
            self._identity(config)
            | {
                "status": "running",
                "attempts": (earlier.get("attempts") or 0) + 1,
                "started_at": earlier.get("started_at") or now(),
                "finished_at": None,
                "suggestion": suggestion,
                "generation": generation,
                "error": None,
                "traceback": None,
            }
        )

    def epoch(self, trial_id: str, report: EpochReport) -> None:
        """A trial has reported an epoch."""
        config = self._configs[trial_id]
        if report.epoch > self.last_epoch(trial_id) + 1:
            # The newest checkpoint was damaged, and the attempt went on from one whose epochs nobody had reported.
            self._catch_up(config)
            self._add(config, report)
            self._writer.upsert_trial({"trial_id": trial_id} | self._summary(trial_id))
        elif self._add(config, report):
            trial = self._writer.trials[trial_id]
            value = report.metrics[self._objective.metric]
            update: dict[str, Any] = report.measured()
            update |= {"trial_id": trial_id, "last_epoch": report.epoch, "host": report.host, "objective": value}
            update["train_s"] = trial.get("train_s", 0.0) + report.epoch_s
            if value is not None and self._objective.better(value, trial.get("best_objective")):
                update |= {"best_epoch": report.epoch, "best_objective": value}
            self._writer.upsert_trial(update)

    def ended(self, trial_id: str, status: str, error: str | None = None, traceback: str | None = None) -> None:
        """A trial has ended for good, or was interrupted."""
        last_epoch = (self._writer.trials.get(trial_id) or {}).get("last_epoch")
        self._writer.upsert_trial(
            {
                "trial_id": trial_id,
                "status": status,
                "rung": last_epoch if status == "stopped" else None,
                "error": error,
                "traceback": traceback,
                "finished_at": now(),
            }
        )

    def teacher(self, record: TeacherRecord) -> None:
        """A teacher is there, trained by this run or before it."""
        teacher = record.config
        self._writer.upsert_teacher(
            {
                "teacher_id": record.teacher_id,
                "model": teacher.learner.model,
                "augmentation_strength": teacher.augmentation_strength,
                "seed": teacher.seed,
                "member": teacher.member,
                "control": teacher.control,
                "epochs": record.epochs,
                "val_accuracy": record.val_accuracy,
                "train_accuracy": record.train_accuracy,
                "num_parameters": record.num_parameters,
                "train_s": record.train_s,
                "finished_at": datetime.fromisoformat(record.finished_at),
                "host": record.host,
                "pid": record.pid,
            }
        )

    def knows_teacher(self, teacher_id: str) -> bool:
        """Whether the teacher is in the tables."""
        return teacher_id in self._writer.teachers

    def last_epoch(self, trial_id: str) -> int:
        """Return the trial's newest recorded epoch, 0 where it has none."""
        return self._writer.last_epochs.get(trial_id, 0)

    def trial_cost(self) -> float | None:
        """Return how many epochs of a teacher an epoch of a trial has taken; None before there are both."""
        taken = [row for row in self._writer.teachers.values() if row.get("train_s") and row.get("epochs")]
        seconds = self._writer.epochs_table(["epoch_s"])["epoch_s"].drop_null().to_pylist()
        if not taken or not seconds:
            return None
        of_teachers: float = sum(row["train_s"] for row in taken) / sum(row["epochs"] for row in taken)
        cost: float = statistics.median(seconds) / of_teachers
        return cost

    def write_due(self) -> None:
        """Write to disk what has waited long enough."""
        self._writer.maybe_flush()

    def write_now(self) -> None:
        """Write everything to disk."""
        self._writer.flush()

    def study(self, num_planned: int, status: str) -> None:
        """Describe the study as a whole: `running`, `completed` or `incomplete`."""
        spec = self._spec
        self._writer.set_study(
            sampler=spec.sampler.name,
            scheduler=spec.scheduler.name,
            objectives=json.dumps([objective.model_dump() for objective in spec.objectives]),
            num_planned=num_planned,
            kd_sweep_version=__version__,
            status=status,
        )

    def seeds_judged(self, text: str) -> None:
        """Record how many seeds a study with adaptive seeds has, and which verdicts they have left open."""
        self._writer.set_study(seeds_judged=text)

    def frozen(self, text: str) -> None:
        """Record the study's frozen spec."""
        self._writer.set_study(spec=text)

    def interrupt_running(self) -> None:
        """Every trial that has not ended was interrupted."""
        for trial_id, row in list(self._writer.trials.items()):
            if row["status"] == "running":
                self.ended(trial_id, "interrupted")

    def _catch_up(self, config: TrialConfig, most: int | None = None) -> None:
        for report in self._history(config)[:most]:
            self._add(config, report)

    def _add(self, config: TrialConfig, report: EpochReport) -> bool:
        trial = self._writer.trials.get(config.trial_id) or {}
        settings = {name: config.at(name) for name in SETTINGS}
        written = {"trial_id": config.trial_id, "attempt": trial.get("attempts") or 1, "finished_at": self._arrival()}
        return self._writer.add_epoch(settings | written | report.columns())

    def _arrival(self) -> datetime:
        """Return the time, but later than that of every epoch before: a clock that is put back changes no order."""
        if self._latest is None:
            self._latest = pc.max(self.epochs_table(["finished_at"])["finished_at"]).as_py()
        earliest = self._latest + timedelta(microseconds=1) if self._latest else now()
        self._latest = max(now(), earliest)
        return self._latest

    def _identity(self, config: TrialConfig) -> dict[str, Any]:
        point = point_of(self._spec, config, self._conditions)
        searched = {column_name(name): _scalar(point.get(name)) for name in self._search}
        sources = {column_name(name): source for name, source in config.plugin_sources.items()}
        return {**searched, **sources} | {
            "trial_id": config.trial_id,
            "augmentation_strength": config.mean_teacher_strength,
            "ensemble_size": config.ensemble_size,
            "seed": config.seed,
            "student": config.student.model,
            "teacher": ", ".join(config.teacher_models if config.members else [config.teacher.model]),
            "config": config.model_dump_json(),
            "num_epochs": config.student.epochs,
        }

    def _summary(self, trial_id: str) -> dict[str, Any]:
        rows = self._writer.epochs_of(trial_id)
        last = rows[-1]
        measured = {name: last.get(name) for name in (*MEASURED, *self._extra)} | {
            "last_epoch": last["epoch"],
            "train_s": sum(row["epoch_s"] for row in rows),
            "host": last.get("host"),
        }
        return measured | self._score(rows)

    def _score(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what a trial's row says of its objective, from its epochs."""
        metric, best = self._objective.metric, self._objective.best_of(rows) or {}
        return {
            "objective": rows[-1].get(metric),
            "best_epoch": best.get("epoch"),
            "best_objective": best.get(metric),
        }


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


def _scalar(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else json.dumps(value)

"""A study as its driver holds it: locked, its tables open and made whole, and what is left to do."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

from kd_sweep.distill.checkpoints import read_history
from kd_sweep.distill.teacher_records import teacher_record
from kd_sweep.driver.budgets.cache_budget import CacheBudget
from kd_sweep.driver.budgets.checkpoint_budget import CheckpointBudget
from kd_sweep.driver.budgets.hour_budget import HourBudget
from kd_sweep.driver.recorder import Recorder
from kd_sweep.driver.stopping.replay import Judge, Replay, replay
from kd_sweep.driver.study_folder import StudyFolder, with_versions
from kd_sweep.driver.worker_messages import EpochReport
from kd_sweep.errors import CorruptFileError, StoppingRuleError, StorageError
from kd_sweep.study.extra_metrics import extra_columns
from kd_sweep.study.file.frozen import FAILED_RULE, freeze
from kd_sweep.study.repeat_seeds import AdaptiveSeeds
from kd_sweep.study.space.dimensions import extremes
from kd_sweep.study.space.plan import num_points
from kd_sweep.study.space.points import PlannedTrial, is_finite, planned_teachers, planned_trials, points_of
from kd_sweep.study.space.repeats import num_missing, num_repeats
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TeacherConfig, TrialConfig
from kd_sweep.tables.schema import FINISHED
from kd_sweep.tables.writer import StudyWriter

if TYPE_CHECKING:
    from kd_sweep.driver.stopping.added_seeds import AddedSeeds


@dataclass(frozen=True)
class Work:
    """What is left to do."""

    unfinished: list[TrialConfig]
    """Trials that have started and not finished: they go first, from their checkpoints."""
    new: list[PlannedTrial]
    """Trials of a finite study that have not started."""
    adaptive: int
    """How many trials an adaptive sampler may still suggest."""
    left: int
    """Trials that `budget.max_trials` keeps out."""
    hours_are_up: bool = False
    """Whether `budget.max_hours` keeps out everything."""

    def __bool__(self) -> bool:
        return self.size > 0 and not self.hours_are_up

    @property
    def size(self) -> int:
        """How many trials there are to run, at most."""
        return len(self.unfinished) + len(self.new) + self.adaptive

    def trial_epochs(self, spec: StudySpec, last_epoch: Callable[[str], int]) -> int:
        """Return how many epochs of trials there are to run, at most, where the search leaves that open.

        Args:
            spec: the study.
            last_epoch: returns how many a trial has, by its id.
        """
        begun = sum(trial.student.epochs - last_epoch(trial.trial_id) for trial in self.unfinished)
        return begun + (len(self.new) + self.adaptive) * int(extremes(spec, "student.epochs")[1])

    @property
    def teachers(self) -> list[TeacherConfig]:
        """The teachers that the trials known by now need, each once, in the order of need."""
        unique = {teacher.teacher_id: teacher for trial in self.unfinished for teacher in trial.needed_teachers}
        if self.new:
            planned = (teacher.config for teacher in planned_teachers(self.new[0].spec, self.new))
            unique |= {teacher.teacher_id: teacher for teacher in planned}
        return list(unique.values())


class StudyState:
    """Holds the study's lock and tables while the block runs.

    Entering makes the tables whole: epochs that checkpoints know and a crash kept from the tables are added.

    Args:
        spec: what the study asks for now.
        folder: where it lives.
    """

    def __init__(self, spec: StudySpec, folder: StudyFolder) -> None:
        self.spec = spec
        self.folder = folder
        self.added_seeds: AddedSeeds | None = None
        """What decides how many seeds there are; None where their number is fixed."""

    def __enter__(self) -> "StudyState":
        self._lease = self.folder.lock()
        try:
            self.folder.write_plugins(self.spec)
            in_table = self.folder.frozen_in_table()
            self._frozen = self.folder.frozen(self.spec, in_table)
            if in_table is None:
                self.folder.write_frozen(self._frozen.text)
            metrics = extra_columns(self.spec.metrics.extra)
            self._writer = StudyWriter(self.folder.storage, self.spec.name, lease=self._lease, metrics=metrics)
            self.recorder = Recorder(self._writer, self.spec, self._history)
            self.recorder.rank_anew()
            self.hours = HourBudget(self.spec, self.recorder)
            if isinstance(self.spec.seeds, AdaptiveSeeds):
                from kd_sweep.driver.stopping.added_seeds import AddedSeeds

                self.added_seeds = AddedSeeds(self.spec.seeds, self.recorder, self.folder.study)
            for trial_id in list(self.recorder.trials()):
                if not self.recorder.is_whole(trial_id):  # else its configuration need not be read
                    self.recorder.reconcile(self.recorder.config(trial_id))
            for config in self._found_again():
                self.recorder.reconcile(config)
            for trial_id in self._replay.stopped if self._begun() and self._replay else ():
                self.recorder.ended(trial_id, "stopped")
            self._record_teachers()
            self.work = self._outstanding()
            self.checkpoints = CheckpointBudget(self.spec, self.folder.study, self.recorder)
            self.checkpoints.enforce()
            self.caches = CacheBudget(self.spec, self.folder.storage, self.recorder, self._waiting)
            self.caches.enforce()
            self._record("running" if self.work else None, self.work)
            self._publish_spec()
        except BaseException:
            self._lease.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.recorder.interrupt_running()
            self._writer.close()
        except StorageError:
            if error is None:  # else it says why already
                raise
        finally:
            self._lease.release()

    def finish(self) -> Work:
        """Record how the study stands after a run, and return what is still left to do."""
        self.recorder.interrupt_running()
        rest = self._outstanding()
        self._record(None, rest)
        self.caches.enforce()
        return rest

    def note_versions(self) -> str | None:
        """Add the versions of this run to the frozen spec where they have changed; return one line that tells of it."""
        self._frozen, change = with_versions(self._frozen)
        if change is not None:
            self.recorder.frozen(self._frozen.text)
            self._publish_spec()
        return change

    def rule_failed(self) -> None:
        """Note in the frozen spec that the stopping rule has failed, so that the study can go on with a mended one."""
        failed = {FAILED_RULE: str(self.spec.scheduler.source)}
        self._frozen = freeze(self._frozen.spec, self._frozen.provenance | failed)
        self.recorder.frozen(self._frozen.text)
        self._publish_spec()

    @property
    def known(self) -> dict[str, TrialConfig]:
        """The configuration of every trial that the tables hold, by its id."""
        return {trial_id: self.recorder.config(trial_id) for trial_id in self.recorder.trials()}

    @property
    def judge(self) -> Judge | None:
        """What decides which trials stop early, and knows all epochs of earlier runs; None without a scheduler."""
        return self._replay.judge if self._replay else None

    @cached_property
    def _replay(self) -> Replay | None:
        try:
            return replay(self.spec, self.recorder.epochs_table, self._begun())
        except StoppingRuleError:
            self.rule_failed()
            raise

    def _begun(self) -> set[str]:
        """Return the ids of trials that have epochs and are not finished."""
        rows = self.recorder.trials().items()
        return {trial_id for trial_id, row in rows if row["status"] not in FINISHED and row.get("last_epoch")}

    def _publish_spec(self) -> None:
        """Write the frozen spec, the table first: whoever finds two believes the table."""
        self.recorder.write_now()
        self.folder.write_frozen(self._frozen.text)

    def _record(self, status: str | None, rest: Work) -> None:
        self.recorder.frozen(self._frozen.text)
        self.recorder.study(self._num_trials, status or ("incomplete" if rest.size or rest.left else "completed"))

    def _found_again(self) -> list[TrialConfig]:
        """Return the configurations of trials that have epochs and lost their row with a damaged table."""
        lost = set(self.recorder.has_lost())
        if not lost:
            return []
        return [self._planned[trial_id].config for trial_id in sorted(lost & self._planned.keys())]

    def _record_teachers(self) -> None:
        """Add the rows of teachers that are there and lost their row with a damaged table."""
        begun = [trial_id for trial_id in self.recorder.trials() if self.recorder.last_epoch(trial_id)]
        planned = [self._planned[trial_id] for trial_id in begun if trial_id in self._planned]
        others = (self.recorder.config(trial_id) for trial_id in begun if trial_id not in self._planned)
        used = {teacher.teacher_id for teacher in planned_teachers(self.spec, planned)}
        used |= {teacher.teacher_id for config in others for teacher in config.needed_teachers}
        for teacher_id in used:
            if not self.recorder.knows_teacher(teacher_id):
                record = teacher_record(self.folder.storage, teacher_id)
                if record is not None:
                    self.recorder.teacher(record)

    def _history(self, config: TrialConfig) -> list[EpochReport]:
        try:
            return [EpochReport.of_row(row) for row in read_history(self.folder.checkpoint_folder(config.trial_id))]
        except (FileNotFoundError, CorruptFileError):
            return []  # the trial itself sets a damaged checkpoint aside and starts over

    @cached_property
    def _planned(self) -> dict[str, PlannedTrial]:
        return {trial.trial_id: trial for trial in planned_trials(self.spec)}

    def more_work(self) -> Work:
        """Return what is left to do by now, where seeds are added after a look at those before."""
        return self._outstanding()

    def _waiting(self) -> Iterator[TrialConfig]:
        return (trial.config for trial in self.work.new)

    def _outstanding(self) -> Work:
        planned = self._planned if self.added_seeds is None else self.added_seeds.wanted(self._planned.values())
        finite = is_finite(self.spec)
        known = self.recorder.trials()
        points = {} if finite else points_of(self.spec, self.known.values())
        wanted = planned.keys() if finite else points.keys()
        unfinished = [
            self.recorder.config(trial_id)
            for trial_id, row in known.items()
            if trial_id in wanted and row["status"] not in FINISHED
        ]
        new = [trial for trial_id, trial in planned.items() if trial_id not in known]
        requested = 0 if finite else min(self.spec.sampler.num_asked or 0, num_points(self.spec))
        begun, missing = num_missing(self.spec, points.values())
        adaptive = max(0, requested - begun) * num_repeats(self.spec) + missing
        limit = self.spec.budget.max_trials
        room = len(new) + adaptive if limit is None else max(0, limit - len(known))
        self._num_trials = len(planned) if finite else len(wanted) + adaptive
        return Work(
            unfinished=unfinished,
            new=new[:room],
            adaptive=min(adaptive, room),
            left=max(0, len(new) + adaptive - room),
            hours_are_up=self.hours.is_spent,
        )

"""The plan of a study as `kd-sweep plan` shows it: trials, teachers, epochs, and how long they take."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

from kd_sweep.data.dataset_cache import dataset_cache_dir
from kd_sweep.distill.teacher_records import TEACHERS, teacher_record
from kd_sweep.driver.pace import describe
from kd_sweep.driver.ray.local_checks import usable_cpus
from kd_sweep.driver.study_checks import check_models, checked
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.warm_start import warm_start_notes, with_warm_start
from kd_sweep.errors import DataError, KdSweepError, SpecError
from kd_sweep.storage.root import Location, Root
from kd_sweep.study.caveats import caveats
from kd_sweep.study.recorded_trials import recorded_trials
from kd_sweep.study.repeat_seeds import AdaptiveSeeds
from kd_sweep.study.space.plan import Plan, estimate_hours, example_trial, plan, rest_of
from kd_sweep.study.space.points import PlannedTrial, points_of
from kd_sweep.study.space.sections import PlannedTeacher
from kd_sweep.study.space.settings import SearchSettings
from kd_sweep.study.spec import StudySpec
from kd_sweep.tables.reader import open_results
from kd_sweep.waiting import doing

LISTED_TRIALS = 30
FINISHED_TRIALS = "SELECT trial_id, config FROM trials WHERE status IN ('completed', 'stopped')"


@dataclass(frozen=True)
class Estimate:
    """How long the rest of a plan takes."""

    hours: float
    """At most that, where the plan is no more than a bound."""
    slots: int
    """Trials at a time."""
    seconds_per_teacher_epoch: float
    seconds_per_student_epoch: float
    source: str
    """Where these come from, in words."""


_TEACHER_EPOCH_S = "SELECT CASE WHEN sum(epochs) = 0 THEN 0.0 ELSE sum(train_s) / sum(epochs) END AS s FROM teachers"
"""Teachers with random weights have no epochs."""


@dataclass(frozen=True, eq=False, repr=False)
class StudyPlan:
    """What a study would run, and how much of it is done."""

    spec: StudySpec
    """The study, its dataset resolved if that is there."""
    whole: Plan
    """All of it."""
    rest: Plan
    """What is not done. All of it where the images are not there: ids depend on them."""
    notes: tuple[str, ...]
    """What the dataset holds, and what to beware of, a line each."""
    missing: str | None
    """Why the images are not there, in one line; None where they are. Ids are then others than at launch."""
    root: Location
    slots: int = 1
    probe: bool = False

    @property
    def trials(self) -> list[PlannedTrial]:
        """Every trial in the order they start; none where the sampler chooses as it goes."""
        return self.whole.trials

    @property
    def teachers(self) -> list[PlannedTeacher]:
        """Every teacher, in the order of first use; none where the sampler chooses as it goes."""
        return self.whole.teachers

    @cached_property
    def estimate(self) -> Estimate | None:
        """How long the rest takes; None where nothing tells. With ``probe`` the first use trains for some seconds."""
        seconds, source = _past_seconds(self.spec, self.root), "from the epochs in the tables"
        if seconds is None and self.probe:
            seconds, source = _probed_seconds(self.spec, self.whole), "from a short probe on this machine"
        if seconds is None:
            return None
        processes = self.spec.resources.num_processes(self.slots)
        hours = estimate_hours(self.rest, *seconds, self.slots, processes)
        return Estimate(hours, self.slots, *seconds, source)

    def lines(self) -> Iterator[str]:
        """Yield the plan for people, the estimate last."""
        planned, most = self.whole, "" if self.whole.exact else "at most "
        yield f"study {self.spec.name}: {most}{planned.num_trials} trials, {most}{planned.num_teachers} teachers"
        if isinstance(self.spec.seeds, AdaptiveSeeds):
            from kd_sweep.driver.stopping.added_seeds import expected_text

            yield expected_text(self.spec, self.spec.seeds)
        trials_done = planned.num_trials - self.rest.num_trials
        teachers_done = planned.num_teachers - self.rest.num_teachers
        if trials_done or teachers_done:
            yield f"done already: {trials_done} of the trials, {teachers_done} of the teachers"
        if self.missing is not None:
            yield f"dataset: not checked, counts need no images ({self.missing})"
        yield from self.notes
        yield from _listed_trials(planned, with_ids=self.missing is None)
        yield f"epochs: {most}{planned.teacher_epochs} of teachers, {most}{planned.student_epochs} of students"
        yield self._time(most, is_whole=not trials_done and not teachers_done)

    def _time(self, most: str, *, is_whole: bool) -> str:
        if (known := self.estimate) is None:
            return "time: not estimated (no past epochs, no probe)"
        rest = "" if is_whole else " for the rest"
        teacher_s, student_s = known.seconds_per_teacher_epoch, known.seconds_per_student_epoch
        return (
            f"time: {most}about {_hours(known.hours)}{rest} with {known.slots} at a time{self._in_processes()} "
            f"({teacher_s:.2g} s per teacher epoch, {student_s:.2g} s per student epoch, {known.source})"
        )

    def _in_processes(self) -> str:
        if not self.spec.resources.lock_step:
            return ""
        processes = self.spec.resources.num_processes(self.slots)
        return f", students in lock step in {processes} process{'es' if processes > 1 else ''}"

    def __repr__(self) -> str:
        return f"<plan of study {self.spec.name}: {self.whole.num_trials} trials, {self.whole.num_teachers} teachers>"

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def make_plan(spec: StudySpec, root: Location, slots: int | None, *, probe: bool) -> StudyPlan:
    """Return the plan of a study.

    Args:
        spec: the study.
        root: the results root, whose tables may hold past epochs of the study.
        slots: how many trials run at a time; as many as fit on this machine when None.
        probe: train for some seconds where there is no past to go by. Without it the dataset need not be there, and
            nothing is downloaded.

    Raises:
        UserError: the study, its dataset or its models are wrong.
    """
    if slots is not None and slots < 1:
        raise SpecError(f"slots: {slots} is not at least 1")
    contents: list[str] = []
    cache_dir = _cache_dir(root)
    with doing("checking the images and the networks"):
        spec, missing = (
            (checked(spec, cache_dir, say=contents.append), None)
            if probe
            else _checked_without_data(spec, cache_dir, contents.append)
        )
    spec = with_warm_start(spec, Root.named(root), _frozen(spec, root))
    contents += warm_start_notes(spec)
    with doing("listing trials and teachers"):
        planned = plan(spec)
    rest = planned
    if missing is None:  # ids depend on the images
        with doing("searching for what is done already"):
            rest = rest_of(planned, _finished_trials(spec, planned, root), _finished_teachers(planned, root))
    at_a_time = slots or max(1, usable_cpus() // spec.resources.cpus)
    return StudyPlan(spec, planned, rest, (*contents, *caveats(spec)), missing, root, at_a_time, probe)


def _frozen(spec: StudySpec, root: Location) -> StudySpec | None:
    """Return the study as it was launched; None where it is new, or cannot be read."""
    try:
        return StudyFolder(root, spec.name).spec()
    except KdSweepError:
        return None


def _listed_trials(planned: Plan, *, with_ids: bool) -> Iterator[str]:
    for trial in planned.trials[:LISTED_TRIALS]:
        yield f"  {trial.trial_id if with_ids else '-'}  {describe(trial.config)}{_further(trial.point)}"
    if len(planned.trials) > LISTED_TRIALS:
        yield f"  … and {len(planned.trials) - LISTED_TRIALS} more"


def _probed_seconds(spec: StudySpec, planned: Plan) -> tuple[float, float]:
    """Return seconds per epoch of a teacher and a student, from training the study's largest trial a little."""
    with doing("training for a few seconds, to see how long an epoch takes"):
        from kd_sweep.driver.epoch_probe import seconds_per_epoch

        device = "auto" if spec.resources.gpus else "cpu"
        return seconds_per_epoch(example_trial(spec, planned), device=device, num_threads=spec.resources.cpus)


def _cache_dir(root: Location) -> Path | None:
    """Return where fingerprints may be known already."""
    try:
        return dataset_cache_dir(Root.open(root))
    except KdSweepError:
        return None


def _checked_without_data(
    spec: StudySpec, cache_dir: Path | None, say: Callable[[str], None]
) -> tuple[StudySpec, str | None]:
    """Return the spec, checked as far as it can be, and what is wrong with its dataset, if anything is."""
    try:
        return checked(spec, cache_dir, say=say, download=False), None
    except DataError as error:
        check_models(spec, download=False)
        return spec, str(error)


def _further(point: Mapping[str, object]) -> str:
    return "".join(f", {name} {value}" for name, value in point.items() if name not in SearchSettings.model_fields)


def _finished_trials(spec: StudySpec, planned: Plan, root: Location) -> set[str]:
    """Return the ids of the study's finished trials that belong to the plan."""
    try:
        rows = open_results(Root.open(root).child(spec.name)).sql(FINISHED_TRIALS).to_pylist()
    except KdSweepError:
        return set()
    if planned.trials:
        return {row["trial_id"] for row in rows}
    return set(points_of(spec, recorded_trials(rows)))


def _finished_teachers(planned: Plan, root: Location) -> set[str]:
    """Return the ids of the plan's teachers that lie in the root, whichever study has trained them."""
    try:
        storage = Root.open(root)
        there = set(storage.folders(TEACHERS))
        needed = {teacher.teacher_id for teacher in planned.teachers} & there if there else set()
        return {teacher_id for teacher_id in needed if teacher_record(storage, teacher_id) is not None}
    except KdSweepError:
        return set()


def _past_seconds(spec: StudySpec, root: Location) -> tuple[float, float] | None:
    """Return seconds per epoch of the study's own teachers and students, None where the tables have none."""
    try:
        results = open_results(Root.open(root).child(spec.name))
        teacher = results.sql(_TEACHER_EPOCH_S).to_pylist()[0]["s"]
        student = results.sql("SELECT median(epoch_s) AS s FROM epochs").to_pylist()[0]["s"]
    except KdSweepError:
        return None
    return None if teacher is None or student is None else (teacher, student)


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{hours * 60:.1f} minutes" if hours * 60 >= 1 else f"{hours * 3600:.0f} seconds"

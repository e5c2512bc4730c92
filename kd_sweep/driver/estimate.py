"""The plan of a study as `kd-sweep plan` shows it: trials, teachers, epochs, and how long they take."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from kd_sweep.data.dataset_cache import dataset_cache_dir
from kd_sweep.distill.teacher_records import TEACHERS, teacher_record
from kd_sweep.driver.pace import describe
from kd_sweep.driver.study_checks import check_models, checked
from kd_sweep.errors import DataError, KdSweepError
from kd_sweep.storage.root import Location, Root
from kd_sweep.study.caveats import caveats
from kd_sweep.study.space.plan import Plan, estimate_hours, example_trial, plan, rest_of
from kd_sweep.study.space.points import points_of
from kd_sweep.study.space.settings import SearchSettings
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import recorded_trial
from kd_sweep.tables.reader import open_results
from kd_sweep.waiting import doing

LISTED_TRIALS = 30
FINISHED_TRIALS = "SELECT trial_id, config FROM trials WHERE status IN ('completed', 'stopped')"


def describe_plan(spec: StudySpec, root: Location, slots: int, *, probe: bool) -> Iterator[str]:
    """Yield the lines of the plan.

    Args:
        spec: the study.
        root: the results root, whose tables may hold past epochs of the study.
        slots: how many trials run at a time.
        probe: train for some seconds where there is no past to go by. Without it the dataset need not be there, and
            nothing is downloaded.

    Raises:
        UserError: the study, its dataset or its models are wrong.
    """
    contents: list[str] = []
    cache_dir = _cache_dir(root)
    with doing("checking the images and the networks"):
        spec, missing = (
            (checked(spec, cache_dir, say=contents.append), None)
            if probe
            else _checked_without_data(spec, cache_dir, contents.append)
        )
    with doing("listing trials and teachers"):
        planned = plan(spec)
    most = _most(planned)
    yield f"study {spec.name}: {most}{planned.num_trials} trials, {most}{planned.num_teachers} teachers"
    rest = planned
    if missing is None:  # ids depend on the images
        with doing("searching for what is done already"):
            rest = rest_of(planned, _finished_trials(spec, planned, root), _finished_teachers(planned, root))
    trials_done, teachers_done = planned.num_trials - rest.num_trials, planned.num_teachers - rest.num_teachers
    if trials_done or teachers_done:
        yield f"done already: {trials_done} of the trials, {teachers_done} of the teachers"
    if missing is not None:
        yield f"dataset: not checked, counts need no images ({missing})"
    yield from contents
    yield from caveats(spec)
    yield from _listed_trials(planned, with_ids=missing is None)
    yield f"epochs: {most}{planned.teacher_epochs} of teachers, {most}{planned.student_epochs} of students"
    yield _time(spec, planned, rest, root, slots, probe)


def _most(planned: Plan) -> str:
    return "" if planned.exact else "at most "


def _listed_trials(planned: Plan, *, with_ids: bool) -> Iterator[str]:
    for trial in planned.trials[:LISTED_TRIALS]:
        yield f"  {trial.trial_id if with_ids else '-'}  {describe(trial.config)}{_further(trial.point)}"
    if len(planned.trials) > LISTED_TRIALS:
        yield f"  … and {len(planned.trials) - LISTED_TRIALS} more"


def _time(spec: StudySpec, planned: Plan, rest: Plan, root: Location, slots: int, probe: bool) -> str:
    """Return the line that says how long the rest of the plan takes."""
    seconds, source = _past_seconds(spec, root), "from the epochs in the tables"
    if seconds is None and probe:
        with doing("training for a few seconds, to see how long an epoch takes"):
            from kd_sweep.driver.epoch_probe import seconds_per_epoch

            example = example_trial(spec, planned)
            seconds = seconds_per_epoch(example, num_threads=spec.resources.cpus)
        source = "from a short probe on this machine"
    if seconds is None:
        return "time: not estimated (no past epochs, no probe)"
    teacher_s, student_s = seconds
    hours = estimate_hours(rest, teacher_s, student_s, slots)
    is_whole = (rest.num_trials, rest.num_teachers) == (planned.num_trials, planned.num_teachers)
    return (
        f"time: {_most(planned)}about {_hours(hours)}{'' if is_whole else ' for the rest'} with {slots} at a time "
        f"({teacher_s:.2g} s per teacher epoch, {student_s:.2g} s per student epoch, {source})"
    )


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
    return set(points_of(spec, (recorded_trial(row) for row in rows)))


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
        teacher = results.sql("SELECT sum(train_s) / sum(epochs) AS s FROM teachers").to_pylist()[0]["s"]
        student = results.sql("SELECT median(epoch_s) AS s FROM epochs").to_pylist()[0]["s"]
    except KdSweepError:
        return None
    return None if teacher is None or student is None else (teacher, student)


def _hours(hours: float) -> str:
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{hours * 60:.1f} minutes" if hours * 60 >= 1 else f"{hours * 3600:.0f} seconds"

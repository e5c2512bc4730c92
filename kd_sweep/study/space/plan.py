"""The plan of a study before it starts: its trials, the teachers they share, epochs, hours."""

import heapq
import math
from collections.abc import Iterable, Set
from dataclasses import dataclass, replace
from typing import Any

from kd_sweep.study.recipe import RANDOM_WEIGHTS
from kd_sweep.study.scheduler import NO_RULE
from kd_sweep.study.space.conditions import Conditions, Point, space_size
from kd_sweep.study.space.dimensions import (
    dimension_size,
    extremes,
    listed_values,
    range_bounds,
    searched_ensembles,
    searched_models,
)
from kd_sweep.study.space.members import ENTRIES, MODELS, inherits
from kd_sweep.study.space.points import PlannedTrial, is_finite, planned_teachers, planned_trials, trial_config
from kd_sweep.study.space.repeats import adds_seeds, num_repeats, with_seeds
from kd_sweep.study.space.searchable_fields import search_field
from kd_sweep.study.space.sections import CONTROL, EPOCHS, Parts, PlannedTeacher
from kd_sweep.study.spec import Choice, Dimension, Grid, StudySpec, Value
from kd_sweep.study.trial import TrialConfig

TEACHER_FIELDS = ("augmentation_strength", "seed", CONTROL, EPOCHS)
"""But for the lists of an ensemble, whose members are counted one by one."""
TEACHER_SECTIONS = ("data", "augmentation", "teacher", "teachers")
ENDLESS = 2**63
"""The number of points of a continuous space."""


@dataclass(frozen=True)
class Plan:
    """What will run. For a sampler that adapts, and with a scheduler that stops trials, upper bounds."""

    trials: list[PlannedTrial]
    """In the order they start; empty where the sampler chooses as it goes."""
    teachers: list[PlannedTeacher]
    """Each once, in the order of first use; empty where the sampler chooses as it goes."""
    num_trials: int
    num_teachers: int
    teacher_epochs: int
    """Of all teachers together."""
    student_epochs: int
    """Of all trials together."""
    exact: bool
    """Whether the numbers are what will happen, failures aside, and not upper bounds."""


def plan(spec: StudySpec) -> Plan:
    """Return what ``spec`` runs within its budget of trials, with nothing done before.

    Raises:
        SpecError: a point of the space that a trial cannot have.
    """
    return _finite_plan(spec) if is_finite(spec) else _bounding_plan(spec)


def _finite_plan(spec: StudySpec) -> Plan:
    trials = planned_trials(spec)[: spec.budget.max_trials]
    return _listed(
        trials, planned_teachers(spec, trials), exact=spec.scheduler.name == NO_RULE and not adds_seeds(spec)
    )


def rest_of(planned: Plan, trials: Set[str], teachers: Set[str]) -> Plan:
    """Return the part of a plan that is not done.

    Args:
        planned: the plan; of one whose sampler adapts, trials are subtracted by their number.
        trials: ids of finished trials that belong to it.
        teachers: ids of finished teachers.
    """
    if planned.trials:
        left = [trial for trial in planned.trials if trial.trial_id not in trials]
        untrained = [teacher for teacher in planned.teachers if not teachers or teacher.teacher_id not in teachers]
        return _listed(left, untrained, exact=planned.exact)
    num_trials = max(0, planned.num_trials - len(trials))
    epochs = planned.student_epochs // planned.num_trials
    return replace(planned, num_trials=num_trials, student_epochs=num_trials * epochs)


def _listed(trials: list[PlannedTrial], teachers: list[PlannedTeacher], *, exact: bool) -> Plan:
    return Plan(
        trials=trials,
        teachers=teachers,
        num_trials=len(trials),
        num_teachers=len(teachers),
        teacher_epochs=sum(teacher.epochs for teacher in teachers),
        student_epochs=sum(trial.epochs for trial in trials),
        exact=exact,
    )


def _bounding_plan(spec: StudySpec) -> Plan:
    num_trials = min(spec.sampler.num_asked or 0, num_points(spec)) * num_repeats(spec)
    num_trials = min(num_trials, spec.budget.max_trials or num_trials)
    members = int(extremes(spec, "ensemble_size")[1])
    distinct = _most_members(spec, members)
    num_teachers = min(members * num_trials, distinct * _most_for_teachers(with_seeds(spec)))
    return Plan(
        trials=[],
        teachers=[],
        num_trials=num_trials,
        num_teachers=num_teachers,
        teacher_epochs=num_teachers * _most_epochs(spec),
        student_epochs=num_trials * int(extremes(spec, "student.epochs")[1]),
        exact=False,
    )


def _most_members(spec: StudySpec, members: int) -> int:
    """Return a bound on the teachers of one strength, seed and recipe, or of all that a list for each ensemble names.

    Member j of one strength and model is one teacher, whatever its fellows are.
    """
    lists: tuple[list[tuple[Any, ...]], ...] = (searched_ensembles(spec), searched_models(spec))
    kinds = [len({pair for ensemble in ensembles for pair in enumerate(ensemble)}) for ensembles in lists if ensembles]
    return math.prod(kinds) if kinds else members


def _most_epochs(spec: StudySpec) -> int:
    """Return the most epochs that a teacher can be trained for."""
    entries = [index for index in range(len(spec.teachers)) if not inherits(spec, index, "epochs")]
    shared = ["teacher.epochs"] if MODELS in spec.search or len(entries) < max(1, len(spec.teachers)) else []
    return int(max(extremes(spec, name)[1] for name in (*shared, *(f"{ENTRIES}.{index}.epochs" for index in entries))))


def num_points(spec: StudySpec) -> int:
    """Return the number of points of the space; 2**63 where it is continuous."""
    size = space_size(spec)
    return ENDLESS if size is None else size


def _most_for_teachers(spec: StudySpec) -> int:
    """Return a bound on how many combinations there are of the dimensions that teachers depend on."""
    sizes = [
        (dimension_size(dimension), 1 if dimension.when else 0)
        for name, dimension in spec.search.items()
        if name in TEACHER_FIELDS or name.split(".")[0] in TEACHER_SECTIONS
    ]
    return math.prod(ENDLESS if size is None else size + without for size, without in sizes)


def example_trial(spec: StudySpec, planned: Plan) -> TrialConfig:
    """Return the trial of the study that takes most time and memory, as far as its ensemble's size tells."""
    if planned.trials:
        parts = Parts(with_seeds(spec))
        return max(planned.trials, key=lambda trial: parts.teacher_cost(trial.values)).config
    conditions = Conditions(spec)
    point: Point = {}
    for name in conditions.order:
        if conditions.is_active(name, point):
            point[name] = search_field(name).canonical(_last(spec.search[name]))
    if point.get(CONTROL) == RANDOM_WEIGHTS:
        possible = listed_values(spec.search[CONTROL])  # type: ignore[arg-type]
        point[CONTROL] = next((value for value in possible if value != RANDOM_WEIGHTS), RANDOM_WEIGHTS)
    return trial_config(spec, point)


def _last(dimension: Dimension) -> Value:
    if isinstance(dimension, Grid | Choice):
        return listed_values(dimension)[-1]
    return range_bounds(dimension)[1]


def estimate_hours(
    plan: Plan,
    seconds_per_teacher_epoch: float,
    seconds_per_student_epoch: float,
    slots: int,
    student_slots: int | None = None,
) -> float:
    """Return about how many hours a plan takes: teachers first, then trials, each on the first free slot.

    Args:
        plan: what runs.
        seconds_per_teacher_epoch: training and evaluation of one teacher, one epoch.
        seconds_per_student_epoch: the same of a trial.
        slots: how many of them run at a time.
        student_slots: how many students learn at a time, where that is another number.

    Raises:
        ValueError: ``slots`` is less than 1.
    """
    if slots < 1:
        raise ValueError(f"slots {slots} is not at least 1")
    if plan.trials:
        teachers = [teacher.epochs for teacher in plan.teachers]
        students = [trial.epochs for trial in plan.trials]
    else:
        teachers = _even(plan.teacher_epochs, plan.num_teachers)
        students = _even(plan.student_epochs, plan.num_trials)
    teacher_s = _makespan(teachers, slots) * seconds_per_teacher_epoch
    return (teacher_s + _makespan(students, student_slots or slots) * seconds_per_student_epoch) / 3600


def _even(epochs: int, jobs: int) -> list[int]:
    return [epochs // jobs] * jobs if jobs else []


def _makespan(epochs: Iterable[int], slots: int) -> int:
    """Return when the last job ends, in epochs, where each starts on the slot that is free first."""
    busy_until = [0] * slots
    for job in epochs:
        heapq.heapreplace(busy_until, busy_until[0] + job)
    return max(busy_until)

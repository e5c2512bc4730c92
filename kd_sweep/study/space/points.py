"""The points of a search space: grids, draws, and the trial that a point stands for."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from kd_sweep.errors import SpecError
from kd_sweep.study.file.messages import value_rule
from kd_sweep.study.identity import SECTIONS, derived_seed
from kd_sweep.study.space.conditions import Conditions, Point
from kd_sweep.study.space.dimensions import default_settings, dimension_values, drawn_value, holds
from kd_sweep.study.space.members import is_mixed, learners_of, value_in
from kd_sweep.study.space.repeats import SEED, adds_seeds, with_seeds
from kd_sweep.study.space.rules import validate_space
from kd_sweep.study.space.searchable_fields import search_field
from kd_sweep.study.space.sections import ABSENT, Parts, PlannedTeacher, Values, section_of
from kd_sweep.study.space.settings import repeated_setting, trial_settings
from kd_sweep.study.spec import StudySpec, Value
from kd_sweep.study.trial import TrialConfig

__all__ = [
    "PlannedTrial",
    "Point",
    "canonical_point",
    "dimension_values",
    "distinct_trials",
    "grid_points",
    "is_finite",
    "planned_teachers",
    "planned_trials",
    "point_of",
    "points_of",
    "random_point",
    "trial_config",
    "validate_space",
]


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial that is known before the study starts."""

    spec: StudySpec = field(repr=False)
    values: Values
    trial_id: str

    @property
    def point(self) -> Point:
        """The trial's values by the names of their dimensions, without those that are not there."""
        named = zip(self.spec.search, self.values, strict=True)
        return {name: value for name, value in named if value is not ABSENT}

    @property
    def config(self) -> TrialConfig:
        """The trial as a whole, made anew: a study may list a million of them."""
        return trial_config(self.spec, self.point)

    @property
    def epochs(self) -> int:
        """How many its student is trained for."""
        epochs: Any = self.point.get("student.epochs", self.spec.student.epochs)
        return int(epochs)


def is_finite(spec: StudySpec) -> bool:
    """Return whether every trial is known before the start: with the samplers `grid` and `random`."""
    return spec.sampler.plans


def canonical_point(point: Mapping[str, Any]) -> Point:
    """Return ``point`` with values as trials hold them: floats of 12 significant digits, of the field's own type.

    Raises:
        SpecError: a name that cannot be searched, or a value that breaks its field's limits.
    """
    canonical: Point = {}
    for name, value in point.items():
        try:
            canonical[name] = search_field(name).canonical(value)
        except ValueError as error:
            raise SpecError(f"{name}: {error}") from None
    return canonical


def trial_config(spec: StudySpec, point: Mapping[str, Any]) -> TrialConfig:
    """Return the trial that ``point`` stands for; what it does not name is as in ``spec``.

    Args:
        spec: the study.
        point: values by the names of search dimensions.

    Raises:
        SpecError: a name that cannot be searched, or values that a trial cannot have, alone or together.
    """
    values = canonical_point(point)
    changes: dict[str, dict[str, Value]] = {}
    settings = default_settings(spec)
    for name, value in values.items():
        field = search_field(name)
        if field.section is None:
            settings[name] = value
        elif field.section in SECTIONS:
            changes.setdefault(field.section, {})[field.key] = value
    if repeated := repeated_setting(values):
        raise SpecError(": ".join(repeated))
    sections: dict[str, Any] = {name: section_of(spec, name, changes.get(name, {})) for name in SECTIONS}
    of_trial = trial_settings(**settings)
    members = learners_of(spec, sections["teacher"], len(of_trial.teacher_strengths), values) if is_mixed(spec) else ()
    try:
        return TrialConfig(**sections, **of_trial._asdict(), members=members)
    except ValidationError as error:
        raise SpecError(f"no trial can have {', '.join(values)}: {value_rule(error.errors()[0])}") from None


def grid_points(spec: StudySpec) -> Iterator[Point]:
    """Yield every combination of the grids, in the order of the file, the last dimension fastest.

    A dimension with a condition is crossed with the others where it is there, after those that decide on it.

    Raises:
        SpecError: a dimension has no list of values.
    """
    possible = {name: dimension_values(name, dimension) for name, dimension in spec.search.items()}
    endless = next((name for name, values in possible.items() if values is None), None)
    if endless is not None:
        raise SpecError(f"search.{endless}: a continuous range has no grid; possible: grid, or uniform with a step")
    return Conditions(spec).points({name: values or [] for name, values in possible.items()})


def values_of(spec: StudySpec, point: Point) -> Values:
    """Return the values of a point in the order of the study's dimensions."""
    return tuple([point.get(name, ABSENT) for name in spec.search])


def random_point(spec: StudySpec, index: int, conditions: Conditions | None = None) -> Point:
    """Return draw ``index`` (from 0): a pure function of the sampler's seed, ``index`` and each dimension.

    More trials therefore extend a study, and one more dimension leaves the draws of the others as they were.

    Args:
        spec: the study.
        index: of the draw.
        conditions: those of the study, where they are at hand.
    """
    conditions = conditions or Conditions(spec)
    point: Point = {}
    for name in conditions.order:
        if conditions.is_active(name, point):
            point[name] = drawn_value(name, spec.search[name], _fraction(spec.sampler.search_seed, index, name))
    return point


def _fraction(seed: int, index: int, name: str) -> float:
    """Return a number in [0, 1) taken from the digest itself, which no version of a random generator can change."""
    return (derived_seed("random-point", seed, index, name) >> 10) / 2**53


def planned_trials(spec: StudySpec) -> list[PlannedTrial]:
    """Return the trials of a `grid` or `random` study, each once, in the order they start; none for the others.

    Raises:
        SpecError: a point that a trial cannot have.
    """
    if not is_finite(spec):
        return []
    trials = distinct_trials(with_seeds(spec), spec.sampler.entry.item(spec))
    # One seed after another where their number depends on what has come of those before.
    return sorted(trials, key=seed_of) if adds_seeds(spec) else trials


def seed_of(trial: PlannedTrial) -> int:
    """Return a planned trial's seed."""
    seed: Any = trial.point.get(SEED, 0)
    return int(seed)


def planned_teachers(spec: StudySpec, trials: Iterable[PlannedTrial]) -> list[PlannedTeacher]:
    """Return the teachers that ``trials`` of ``spec`` need, each once, in the order of first use."""
    parts = Parts(with_seeds(spec))
    distinct: dict[Values, Values] = {}
    for trial in trials:
        distinct.setdefault(parts.values_of_teachers(trial.values), trial.values)
    return list(dict.fromkeys(teacher for values in distinct.values() for teacher in parts.teachers(values)))


def points_of(spec: StudySpec, trials: Iterable[TrialConfig]) -> dict[str, Point]:
    """Return the point that each of ``trials`` is in the space of ``spec``, by trial id, without those that are none.

    A trial is a point only if that point would be the same trial today: its values are in the space, and what the space
    leaves fixed is in the trial as in ``spec``. In a study with seeds, they are a dimension here.
    """
    spec = with_seeds(spec)
    parts, conditions, points = Parts(spec), Conditions(spec), dict[str, Point]()
    for trial in trials:
        point = point_of(spec, trial, conditions)
        if all(holds(name, spec.search[name], value) for name, value in point.items()):
            with contextlib.suppress(SpecError):  # a section that no trial can have
                if parts.trial_id(values_of(spec, point)) == trial.trial_id:
                    points[trial.trial_id] = point
    return points


def point_of(spec: StudySpec, trial: TrialConfig, conditions: Conditions | None = None) -> Point:
    """Return the values of a trial, whether they are in the space or not, in the dimensions that it has.

    Args:
        spec: the study.
        trial: of this study or another.
        conditions: those of the study, where they are at hand.
    """
    conditions = conditions or Conditions(spec)
    point: Point = {}
    for name in conditions.order:
        if conditions.is_active(name, point):
            point[name] = value_in(spec, trial, name)
    return point


def distinct_trials(spec: StudySpec, points: Iterator[Point], limit: int | None = None) -> list[PlannedTrial]:
    """Return the trials that points stand for, each once, the first ``limit`` of them."""
    parts, trials = Parts(spec), dict[str, PlannedTrial]()
    while limit is None or len(trials) < limit:
        point = next(points, None)
        if point is None:
            break
        values = values_of(spec, point)
        trial_id = parts.trial_id(values)
        if trial_id not in trials:
            trials[trial_id] = PlannedTrial(spec, values, trial_id)
    return list(trials.values())

"""The points of a search space: grids, draws, and the trial that a point stands for."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from kd_sweep.errors import SpecError
from kd_sweep.study.file.messages import value_rule
from kd_sweep.study.identity import derived_seed
from kd_sweep.study.space.dimensions import dimension_size, dimension_values, drawn_value, holds
from kd_sweep.study.space.rules import validate_space
from kd_sweep.study.space.searchable_fields import search_field
from kd_sweep.study.space.sections import Parts, PlannedTeacher, Values, section_of
from kd_sweep.study.space.settings import SearchSettings, repeated_setting, trial_settings
from kd_sweep.study.spec import GridSampler, RandomSampler, StudySpec, Value
from kd_sweep.study.trial import SECTIONS, TrialConfig

__all__ = [
    "PlannedTrial",
    "Point",
    "canonical_point",
    "dimension_values",
    "grid_points",
    "is_finite",
    "planned_teachers",
    "planned_trials",
    "points_of",
    "random_point",
    "trial_config",
    "validate_space",
]

Point = dict[str, Value]
"""A value for every dimension, by the dimension's name."""


@dataclass(frozen=True, slots=True)
class PlannedTrial:
    """A trial that is known before the study starts."""

    spec: StudySpec = field(repr=False)
    values: Values
    trial_id: str

    @property
    def point(self) -> Point:
        """The trial's values by the names of their dimensions."""
        return dict(zip(self.spec.search, self.values, strict=True))

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
    return isinstance(spec.sampler, GridSampler | RandomSampler)


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
    settings: dict[str, Any] = SearchSettings().model_dump()
    for name, value in values.items():
        field = search_field(name)
        if field.section is None:
            settings[name] = value
        else:
            changes.setdefault(field.section, {})[field.key] = value
    if repeated := repeated_setting(values):
        raise SpecError(": ".join(repeated))
    sections: dict[str, Any] = {name: section_of(spec, name, changes.get(name, {})) for name in SECTIONS}
    try:
        return TrialConfig(**sections, **trial_settings(**settings)._asdict())
    except ValidationError as error:
        raise SpecError(f"no trial can have {', '.join(values)}: {value_rule(error.errors()[0])}") from None


def grid_points(spec: StudySpec) -> Iterator[Point]:
    """Yield every combination of the grids, in the order of the file, the last dimension fastest.

    Raises:
        SpecError: a dimension has no list of values.
    """
    return (dict(zip(spec.search, values, strict=True)) for values in _grid(spec))


def _grid(spec: StudySpec) -> Iterator[Values]:
    possible = {name: dimension_values(name, dimension) for name, dimension in spec.search.items()}
    endless = next((name for name, values in possible.items() if values is None), None)
    if endless is not None:
        raise SpecError(f"search.{endless}: a continuous range has no grid; possible: grid, or uniform with a step")
    return itertools.product(*(values or [] for values in possible.values()))


def random_point(spec: StudySpec, index: int) -> Point:
    """Return draw ``index`` (from 0): a pure function of the sampler's seed, ``index`` and each dimension.

    More trials therefore extend a study, and one more dimension leaves the draws of the others as they were.
    """
    seed = getattr(spec.sampler, "seed", 0)
    return {name: drawn_value(name, dimension, _fraction(seed, index, name)) for name, dimension in spec.search.items()}


def _fraction(seed: int, index: int, name: str) -> float:
    """Return a number in [0, 1) taken from the digest itself, which no version of a random generator can change."""
    return (derived_seed("random-point", seed, index, name) >> 10) / 2**53


def planned_trials(spec: StudySpec) -> list[PlannedTrial]:
    """Return the trials of a `grid` or `random` study, each once, in the order they start; none for the others.

    Raises:
        SpecError: a point that a trial cannot have.
    """
    if isinstance(spec.sampler, GridSampler):
        return _distinct(spec, _grid(spec))
    if not isinstance(spec.sampler, RandomSampler):
        return []
    size = _space_size(spec)
    wanted = spec.sampler.num_trials if size is None else min(spec.sampler.num_trials, size)
    # Draws repeat in a small space; its last point takes size * ln(size) of them, far fewer than this bound.
    draws = (tuple(random_point(spec, index).values()) for index in range(1000 + 20 * wanted))
    return _distinct(spec, draws, wanted)


def planned_teachers(spec: StudySpec, trials: Iterable[PlannedTrial]) -> list[PlannedTeacher]:
    """Return the teachers that ``trials`` of ``spec`` need, each once, in the order of first use."""
    parts = Parts(spec)
    distinct: dict[Values, Values] = {}
    for trial in trials:
        distinct.setdefault(parts.values_of_teachers(trial.values), trial.values)
    return list(dict.fromkeys(teacher for values in distinct.values() for teacher in parts.teachers(values)))


def points_of(spec: StudySpec, trials: Iterable[TrialConfig]) -> dict[str, Point]:
    """Return the point that each of ``trials`` is in the space of ``spec``, by trial id, without those that are none.

    A trial is a point only if that point would be the same trial today: its values are in the space, and what the space
    leaves fixed is in the trial as in ``spec``.
    """
    parts, points = Parts(spec), dict[str, Point]()
    for trial in trials:
        point = {name: trial.at(name) for name in spec.search}
        if all(holds(name, spec.search[name], value) for name, value in point.items()):
            with contextlib.suppress(SpecError):  # a section that no trial can have
                if parts.trial_id(tuple(point.values())) == trial.trial_id:
                    points[trial.trial_id] = point
    return points


def _distinct(spec: StudySpec, points: Iterator[Values], limit: int | None = None) -> list[PlannedTrial]:
    parts, trials = Parts(spec), dict[str, PlannedTrial]()
    while limit is None or len(trials) < limit:
        values = next(points, None)
        if values is None:
            break
        trial_id = parts.trial_id(values)
        if trial_id not in trials:
            trials[trial_id] = PlannedTrial(spec, values, trial_id)
    return list(trials.values())


def _space_size(spec: StudySpec) -> int | None:
    """Return the number of points, or None where a dimension is continuous."""
    size = 1
    for dimension in spec.search.values():
        values = dimension_size(dimension)
        if values is None:
            return None
        size *= values
    return size

"""The parts that trials of one study share, each made once: a study can list a million trials.

A trial is a tuple of values here, one for each dimension of the search. Sections are checked and written as JSON once
for each combination of their own values; ids and teachers are put together from those, without a configuration.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from kd_sweep.catalogue.parameters import Strict
from kd_sweep.errors import SpecError
from kd_sweep.study.identity import SECTIONS
from kd_sweep.study.recipe import (
    NO_CONTROL,
    RANDOM_WEIGHTS,
    SHARED_EPOCHS,
    Augmentation,
    Data,
    Distillation,
    Learner,
    TeacherControl,
    member_learner,
)
from kd_sweep.study.section_digests import scalar_json, section_json
from kd_sweep.study.space.dimensions import default_settings
from kd_sweep.study.space.members import ENTRIES, MODELS, is_mixed, learners_of
from kd_sweep.study.space.searchable_fields import changed_section, search_field
from kd_sweep.study.space.settings import trial_settings
from kd_sweep.study.spec import StudySpec, Value
from kd_sweep.study.trial import (
    Settings,
    TeacherConfig,
    epochs_of,
    reference_augmentation,
    teacher_digest,
    trial_digest,
    untrained_learner,
)


class Absent(Enum):
    """What stands for the value of a dimension that is not there."""

    ABSENT = "absent"


ABSENT: Literal[Absent.ABSENT] = Absent.ABSENT

Values = tuple[Value | Literal[Absent.ABSENT], ...]
"""A value for each dimension, in the order of `StudySpec.search`, in canonical form; `ABSENT` where it is not there."""

S = TypeVar("S", bound=Strict)


CONTROL, EPOCHS = "distillation.teacher_control", "distillation.ensemble_epochs"
TEACHER_FIELDS = (
    *("augmentation_strength", "ensemble_size", "seed", "teacher_strengths", "teacher_models"),
    CONTROL,
    EPOCHS,
)
TEACHER_SECTIONS = ("data", "augmentation", "teacher", "teachers", "metrics")
"""What decides which teachers a trial needs."""
_OF_MEMBERS = ("teacher", ENTRIES)


class Part(Generic[S]):
    """A section and its JSON; equal ones of a study are one object, so that comparing them costs nothing."""

    __slots__ = ("json", "section")

    def __init__(self, section: S, json: str) -> None:
        self.section = section
        self.json = json


class PlannedTeacher(NamedTuple):
    """A teacher as its parts; equal tuples are the same teacher."""

    data: Part[Data]
    augmentation: Part[Augmentation]
    augmentation_strength: float
    learner: Part[Learner]
    seed: int
    member: int
    control: TeacherControl = NO_CONTROL

    @property
    def epochs(self) -> int:
        """How many it is trained for."""
        return epochs_of(self.learner.section, self.control)

    @property
    def config(self) -> TeacherConfig:
        """The teacher as a whole."""
        return TeacherConfig(
            data=self.data.section,
            augmentation=self.augmentation.section,
            augmentation_strength=self.augmentation_strength,
            learner=self.learner.section,
            seed=self.seed,
            member=self.member,
            control=self.control,
        )

    @property
    def teacher_id(self) -> str:
        """As `TeacherConfig.teacher_id`."""
        parts = {
            name: value.json if isinstance(value, Part) else scalar_json(value)
            for name, value in self._asdict().items()
            if (name, value) != ("control", NO_CONTROL)
        }
        return teacher_digest(parts)


class Parts:
    """The parts of a study's trials.

    Args:
        spec: the study.
    """

    def __init__(self, spec: StudySpec) -> None:
        self._spec = spec
        self._parts: dict[str, Part[Any]] = {}
        self._made: dict[str, dict[Values, Part[Any]]] = {section: {} for section in SECTIONS}
        self._index_of = {name: index for index, name in enumerate(spec.search)}
        self._searched = {section: self._of_section(section) for section in SECTIONS}
        self._for_teachers = [
            index
            for name, index in self._index_of.items()
            if name in TEACHER_FIELDS or name.partition(".")[0] in TEACHER_SECTIONS
        ]
        self._defaults = default_settings(spec)
        self._of_members = [
            index for name, index in self._index_of.items() if name == MODELS or name.split(".")[0] in _OF_MEMBERS
        ]
        self._members: dict[tuple[Values, int], tuple[Part[Learner], ...]] = {}
        self._varying = [section for section in SECTIONS if self._searched[section]]
        self._fixed = {section: self.part(section, ()).json for section in SECTIONS if not self._searched[section]}

    def trial_id(self, values: Values) -> str:
        """Return the trial's id, as `TrialConfig.trial_id`.

        Raises:
            SpecError: a section that no trial can have.
        """
        sections = dict(self._fixed)
        for section in self._varying:
            sections[section] = self.part(section, values).json
        settings = self.settings(values)
        members = [member.json for member in self.members(values, settings)] if is_mixed(self._spec) else []
        if members:
            sections["teacher"] = members[0]
        return trial_digest(sections, settings, members)

    def teachers(self, values: Values) -> Iterator[PlannedTeacher]:
        """Yield the teachers that the trial needs, as `TrialConfig.needed_teachers`."""
        settings = self.settings(values)
        data, augmentation = (self.part(section, values) for section in ("data", "augmentation"))
        learners = self.members(values, settings)
        distillation: Part[Distillation] = self.part("distillation", values)
        control, metrics = distillation.section.teacher_control, self.part("metrics", values).section
        if distillation.section.ensemble_epochs == SHARED_EPOCHS:
            each = (member_learner(learner.section, distillation.section, len(learners)) for learner in learners)
            learners = tuple(map(self._shared, each))
        for member, (strength, learner) in enumerate(zip(settings.teacher_strengths, learners, strict=True), 1):
            if control == RANDOM_WEIGHTS:
                nothing, network = self._shared(Augmentation()), self._shared(untrained_learner(learner.section))
                yield PlannedTeacher(data, nothing, 0.0, network, settings.seed, member, control)
            else:
                yield PlannedTeacher(data, augmentation, strength, learner, settings.seed, member, control)
        if metrics.affinity and control == NO_CONTROL:
            clean = self._shared(reference_augmentation(augmentation.section))
            yield PlannedTeacher(data, clean, 0.0, learners[0], settings.seed, 1)

    def teacher_cost(self, values: Values) -> tuple[bool, int]:
        """Return what orders trials by the work that their teachers are: whether they are trained, and their number."""
        distillation: Part[Distillation] = self.part("distillation", values)
        is_trained = distillation.section.teacher_control != RANDOM_WEIGHTS
        return is_trained, len(self.settings(values).teacher_strengths)

    def members(self, values: Values, settings: Settings) -> tuple[Part[Learner], ...]:
        """Return the section of each teacher of the trial, member 1 first."""
        size, common = len(settings.teacher_strengths), self.part("teacher", values)
        if not is_mixed(self._spec):
            return (common,) * size
        key = tuple([values[index] for index in self._of_members]), size
        if key not in self._members:
            names = list(self._index_of)
            point = {names[index]: value for index in self._of_members if (value := values[index]) is not ABSENT}
            learners = learners_of(self._spec, common.section, size, point)
            self._members[key] = tuple(map(self._shared, learners))
        return self._members[key]

    def values_of_teachers(self, values: Values) -> Values:
        """Return those of ``values`` that decide which teachers the trial needs."""
        return tuple([values[index] for index in self._for_teachers])

    def part(self, section: str, values: Values) -> Part[Any]:
        """Return a section of the trial."""
        searched = self._searched[section]
        own = tuple([values[index] for index, _ in searched])
        part = self._made[section].get(own)
        if part is None:
            changes = {key: value for (_, key), value in zip(searched, own, strict=True) if value is not ABSENT}
            part = self._made[section][own] = self._shared(section_of(self._spec, section, changes))
        return part

    def settings(self, values: Values) -> Settings:
        """Return the fields of the trial that are no sections."""
        return trial_settings(**{name: self._value(name, values) for name in self._defaults})

    def _value(self, name: str, values: Values) -> Any:
        index = self._index_of.get(name)
        return self._defaults[name] if index is None or values[index] is ABSENT else values[index]

    def _of_section(self, section: str) -> list[tuple[int, str]]:
        """Return index and key of each dimension that is a field of the section."""
        fields = [search_field(name) for name in self._index_of]
        return [(index, field.key) for index, field in enumerate(fields) if field.section == section]

    def _shared(self, section: Strict) -> Part[Any]:
        json = section_json(section)
        # Two classes at their defaults are both `{}`.
        return self._parts.setdefault(f"{type(section).__name__} {json}", Part(section, json))


def section_of(spec: StudySpec, section: str, changes: dict[str, Value]) -> Strict:
    """Return a section of ``spec`` with some fields replaced by canonical values.

    Raises:
        SpecError: the values cannot go together.
    """
    base: Strict = getattr(spec, section)
    if not changes:
        return base
    try:
        return changed_section(base, tuple(sorted(changes.items())))
    except ValueError as error:
        together = ", ".join(f"{section}.{key} {value}" for key, value in changes.items())
        raise SpecError(f"no trial can have {together}: {error}") from None

"""The configurations of a trial, its teachers and their image streams, each named by the digest of its content."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Annotated, Any, NamedTuple

from pydantic import Field, ValidationError, model_validator

from kd_sweep.catalogue.parameters import Seed, Strict
from kd_sweep.catalogue.selecting_section import SelectingSection
from kd_sweep.errors import StorageError
from kd_sweep.study.identity import SECTIONS, canonical_json, derived_seed, digest_of_parts
from kd_sweep.study.recipe import (
    Augmentation,
    Data,
    Distillation,
    Fraction,
    Learner,
    Metrics,
    SelectedAugmentation,
    SelectedData,
    SelectedDistillation,
    SelectedLearner,
    SelectedMetrics,
)

MAX_TEACHERS = 64

Strengths = Annotated[tuple[Fraction, ...], Field(min_length=1, max_length=MAX_TEACHERS)]
"""Of an ensemble, member 1 first."""

_NOTHING = "{}"
"""Of a section that is at its defaults."""


def data_identity(data: Data) -> dict[str, Any]:
    """Return what makes a dataset itself: its fingerprint, where it has one, and not its origin."""
    content = _content(data)
    if data.fingerprint is not None:
        for name in data.origin:
            content.pop(name, None)
    return content


@lru_cache(maxsize=4096)
def section_json(section: Strict) -> str:
    """Return what makes a section itself, as the canonical JSON that goes into a digest."""
    return canonical_json(data_identity(section) if isinstance(section, Data) else _content(section))


def _content(section: Strict) -> dict[str, Any]:
    """Return the fields that differ from their defaults: a field added later, at its default, renames nothing.

    Of an entry of a plug-in every parameter counts, and its source with them, which says what the defaults were.
    """
    content = section.model_dump(mode="json", exclude_defaults=True)
    if isinstance(section, SelectingSection) and section.source is not None:
        content |= section.parameters()
    if isinstance(section, Metrics) and section.extra:
        content["extra"] = [{"name": metric.name, **_content(metric)} for metric in section.extra]
    if "weights_digest" in content:
        content.pop("weights", None)  # the location of the file, and not which it is
    return content


@lru_cache(maxsize=65536, typed=True)
def scalar_json(value: Any) -> str:
    """Return a number or text as canonical JSON."""
    return canonical_json(value)


def _parts_of(config: Strict) -> dict[str, str]:
    """Return every field of a configuration, none of which has a default, as canonical JSON."""
    return {name: section_json(value) if isinstance(value, Strict) else scalar_json(value) for name, value in config}


class StreamConfig(Strict):
    """An endless, reproducible sequence of augmented batches."""

    data: SelectedData
    augmentation: SelectedAugmentation
    augmentation_strength: Fraction
    batch_size: int
    seed: int
    """Two streams that differ in nothing else show other pixels in another order."""

    @cached_property
    def stream_id(self) -> str:
        """Digest of what decides the pixels."""
        return digest_of_parts(_parts_of(self) | {"kind": '"stream"'})


class TeacherConfig(Strict):
    """One teacher: an architecture, a training recipe, the images it saw, a seed."""

    data: SelectedData
    augmentation: SelectedAugmentation
    augmentation_strength: Fraction
    learner: SelectedLearner
    seed: int
    member: int = Field(ge=1)
    """Number in the ensemble, from 1. The same (seed, member) is the same teacher in an ensemble of any size."""

    @cached_property
    def teacher_id(self) -> str:
        """Digest of everything that the weights depend on."""
        return teacher_digest(_parts_of(self))

    @property
    def init_seed(self) -> int:
        """Seed of the initial weights."""
        return derived_seed("teacher-init", self.seed, self.member)

    @property
    def stream(self) -> StreamConfig:
        """The images that the teacher is trained on: its own order and its own augmentations."""
        return StreamConfig(
            data=self.data,
            augmentation=self.augmentation,
            augmentation_strength=self.augmentation_strength,
            batch_size=self.learner.batch_size,
            seed=derived_seed("teacher-stream", self.seed, self.member),
        )


def teacher_digest(parts: Mapping[str, str]) -> str:
    """Return the id of a teacher, from the canonical JSON of each of its fields: `section_json`, `scalar_json`."""
    return digest_of_parts({**parts, "kind": '"teacher"'})


class Settings(NamedTuple):
    """The fields of a trial that are no sections; `TrialConfig` documents them."""

    teacher_strengths: tuple[float, ...]
    student_strength: float
    seed: int


def mean_strength(strengths: tuple[float, ...]) -> float:
    """Return the strength that stands for those of several teachers."""
    return strengths[0] if len(set(strengths)) == 1 else float(f"{sum(strengths) / len(strengths):.12g}")


def reference_augmentation(augmentation: Augmentation) -> Augmentation:
    """Return the augmentation that shows clean images at strength 0: the weakest of the paper's presets does not."""
    return augmentation if augmentation.clean_at_zero else Augmentation()


def trial_digest(sections: Mapping[str, str], settings: Settings, members: Sequence[str]) -> str:
    """Return the id of a trial.

    Args:
        sections: `section_json` of each of `SECTIONS`, of which `teacher` is that of member 1.
        settings: its other fields.
        members: `section_json` of each teacher, member 1 first.
    """
    parts = {name: text for name, text in sections.items() if text != _NOTHING or name == "data"}
    if len(set(members)) > 1:
        parts["members"] = f"[{','.join(members)}]"
    if settings.teacher_strengths != (0.0,):
        parts["teacher_strengths"] = scalar_json(settings.teacher_strengths)
    if settings.student_strength != 0.0:
        parts["student_strength"] = scalar_json(settings.student_strength)
    if settings.seed != 0:
        parts["seed"] = scalar_json(settings.seed)
    parts["kind"] = '"trial"'
    return digest_of_parts(parts)


class TrialConfig(Strict):
    """One point of the search space with everything that decides its result."""

    data: SelectedData = Data()
    augmentation: SelectedAugmentation = Augmentation()
    teacher: SelectedLearner = Learner()
    student: SelectedLearner = Learner()
    distillation: SelectedDistillation = Distillation()
    metrics: SelectedMetrics = Metrics()
    teacher_strengths: Strengths = (0.0,)
    """The strength at which each teacher is trained, member 1 first. 0: clean images. 1: the strongest."""
    student_strength: Fraction = 0.0
    """The strength of the images that the student sees, and its teachers with it."""
    seed: Seed = 0
    members: tuple[SelectedLearner, ...] = ()
    """The network and recipe of each teacher, member 1 first, of which `teacher` is the first; empty where all are as
    that."""

    @model_validator(mode="after")
    def _one_form_of_an_ensemble(self) -> "TrialConfig":
        if not self.members:
            return self
        if len(self.members) != self.ensemble_size:
            raise ValueError(f"members has {len(self.members)} networks for {self.ensemble_size} teachers")
        object.__setattr__(self, "teacher", self.members[0])
        if len(set(map(section_json, self.members))) == 1:
            object.__setattr__(self, "members", ())
        return self

    @model_validator(mode="after")
    def _every_teacher_has_a_weight(self) -> "TrialConfig":
        weights = self.distillation.teacher_weights
        if weights is not None and len(weights) < self.ensemble_size:
            raise ValueError(f"teacher_weights has {len(weights)} weights for {self.ensemble_size} teachers")
        return self

    @cached_property
    def trial_id(self) -> str:
        """Digest of the whole configuration: the same configuration is the same trial, in any study."""
        sections = {name: section_json(getattr(self, name)) for name in SECTIONS}
        return trial_digest(sections, self.settings, [section_json(member) for member in self.members])

    @property
    def settings(self) -> Settings:
        """The fields that are no sections."""
        return Settings(self.teacher_strengths, self.student_strength, self.seed)

    @property
    def ensemble_size(self) -> int:
        """How many teachers."""
        return len(self.teacher_strengths)

    @property
    def learners(self) -> tuple[Learner, ...]:
        """The network and recipe of each teacher, member 1 first."""
        return self.members or (self.teacher,) * self.ensemble_size

    @property
    def teacher_models(self) -> tuple[str, ...]:
        """The model of each teacher, member 1 first."""
        return tuple(learner.model for learner in self.learners)

    @property
    def mean_teacher_strength(self) -> float:
        """The mean of the teachers' strengths: the column `augmentation_strength` of the tables."""
        return mean_strength(self.teacher_strengths)

    def at(self, field: str) -> Any:
        """Return the trial's value of a field that a study can search, `distillation.temperature` for example.

        None for a parameter that the trial has not, because it selects another entry of the catalogue.
        """
        value: Any = self
        for name in ("mean_teacher_strength" if field == "augmentation_strength" else field).split("."):
            value = getattr(value, name, None)
        return value

    @property
    def plugin_sources(self) -> dict[str, str]:
        """Version and digest of the source of each entry of a plug-in: `distillation.loss_source` and the like.

        Those of several teachers' networks are one text.
        """
        sources: dict[str, list[str]] = {}
        for name, section in selecting_sections(self):
            if section.source is not None and section.source not in sources.setdefault(f"{name}_source", []):
                sources[f"{name}_source"].append(section.source)
        return {name: ", ".join(each) for name, each in sources.items()}

    def with_learners(self, changes: Mapping[str, Any]) -> "TrialConfig":
        """Return the trial with fields of its student and of all its teachers replaced, which are not checked."""
        update = {name: getattr(self, name).model_copy(update=dict(changes)) for name in ("teacher", "student")}
        members = tuple(member.model_copy(update=dict(changes)) for member in self.members)
        return self.model_copy(update={**update, "members": members})

    @property
    def init_seed(self) -> int:
        """Seed of the student's initial weights."""
        return derived_seed("student-init", self.seed)

    @property
    def teachers(self) -> tuple[TeacherConfig, ...]:
        """The ensemble, member 1 first."""
        return tuple(
            TeacherConfig(
                data=self.data,
                augmentation=self.augmentation,
                augmentation_strength=strength,
                learner=learner,
                seed=self.seed,
                member=member,
            )
            for member, (strength, learner) in enumerate(zip(self.teacher_strengths, self.learners, strict=True), 1)
        )

    @property
    def reference_teacher(self) -> TeacherConfig:
        """Member 1 without augmentation: affinity is measured with it."""
        return TeacherConfig(
            data=self.data,
            augmentation=reference_augmentation(self.augmentation),
            augmentation_strength=0.0,
            learner=self.teacher,
            seed=self.seed,
            member=1,
        )

    @property
    def needed_teachers(self) -> tuple[TeacherConfig, ...]:
        """Every teacher that the trial needs: the ensemble, and the one that affinity is measured with, each once."""
        teachers = (*self.teachers, self.reference_teacher) if self.metrics.affinity else self.teachers
        return tuple({teacher.teacher_id: teacher for teacher in teachers}.values())

    @property
    def stream(self) -> StreamConfig:
        """The images that the student sees, and its teachers with it."""
        return StreamConfig(
            data=self.data,
            augmentation=self.augmentation,
            augmentation_strength=self.student_strength,
            batch_size=self.student.batch_size,
            seed=derived_seed("student-stream", self.seed),
        )


def selecting_sections(config: Strict) -> Iterator[tuple[str, SelectingSection]]:
    """Yield what selects entries in a trial or teacher, by its field: `distillation.loss`; metrics by their columns.

    The networks of several teachers are all under `teacher.model`.
    """
    members = [("teacher", member) for member in config.members] if isinstance(config, TrialConfig) else []
    for name, section in (*config, *members):
        if isinstance(section, SelectingSection):
            yield f"{name}.{section.selector}", section
        if isinstance(section, Metrics):
            yield from ((f"{name}.{metric.column}", metric) for metric in section.extra)


def recorded_trials(rows: Iterable[Mapping[str, Any]]) -> Iterator[TrialConfig]:
    """Yield the trial of each row of the `trials` table; errors as `recorded_trial`."""
    return map(RecordedTrials().trial, rows)


class RecordedTrials:
    """The trials of rows of the `trials` table. Equal sections are read once, and shared."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], Strict] = {}

    def trial(self, row: Mapping[str, Any]) -> TrialConfig:
        """Return the trial of a row; errors as `recorded_trial`."""
        content = json.loads(row["config"])
        keys = {name: (name, repr(content[name])) for name in SECTIONS if name in content}
        if content.pop("members", None):  # of which a section of the trial is one
            return recorded_trial(row)
        if self._read.keys() >= set(keys.values()):
            return _of_read_sections(row, content | {name: self._read[key] for name, key in keys.items()})
        config = recorded_trial(row)
        self._read |= {key: getattr(config, name) for name, key in keys.items()}
        return config


def _of_read_sections(row: Mapping[str, Any], content: dict[str, Any]) -> TrialConfig:
    if "teacher_strengths" in content:
        content["teacher_strengths"] = tuple(content["teacher_strengths"])
    try:
        return TrialConfig.model_validate(content)
    except ValidationError:
        return recorded_trial(row)  # which says what is wrong


def recorded_trial(row: Mapping[str, Any]) -> TrialConfig:
    """Return the trial of a row of the `trials` table.

    Raises:
        StorageError: a version of kd_sweep wrote the row whose trials have other fields.
    """
    try:
        return TrialConfig.model_validate_json(row["config"])
    except ValidationError:
        raise StorageError(
            f"trial {row['trial_id']}: was written by a version of kd_sweep whose trials have other fields; go on with "
            "that version, or launch the study in another root"
        ) from None

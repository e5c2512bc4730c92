"""What one trial is, which teachers it needs, which images it sees; each named by the digest of its content."""

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Annotated, Any, NamedTuple

from pydantic import Field, model_validator

from kd_sweep.study.identity import canonical_json, derived_seed, digest_of_parts
from kd_sweep.study.recipe import Augmentation, Data, Distillation, Fraction, Learner, Metrics, Seed, Strict

MAX_TEACHERS = 64


PLACES = ("path", "train_list", "val_list", "download")
"""Fields of `data` that say where images come from, and not which they are, once they have a fingerprint."""

SECTIONS = ("data", "augmentation", "teacher", "student", "distillation", "metrics")
"""The parts of a trial that are models of their own."""
_NOTHING = "{}"
"""Of a section that is at its defaults."""


def data_identity(data: Data) -> dict[str, Any]:
    """Return what makes a dataset itself: its fingerprint, where it has one, and not the place it lies at."""
    content = _content(data)
    if data.fingerprint is not None:
        for place in PLACES:
            content.pop(place, None)
    return content


@lru_cache(maxsize=4096)
def section_json(section: Strict) -> str:
    """Return what makes a section itself, as the canonical JSON that goes into a digest."""
    return canonical_json(data_identity(section) if isinstance(section, Data) else _content(section))


def _content(section: Strict) -> dict[str, Any]:
    """Return the fields that differ from their defaults: a field added later, at its default, renames nothing."""
    content = section.model_dump(mode="json", exclude_defaults=True)
    if "weights_digest" in content:
        content.pop("weights", None)  # says where the file lies, and not which it is
    return content


@lru_cache(maxsize=65536, typed=True)
def _scalar_json(value: Any) -> str:
    return canonical_json(value)


def _parts_of(config: Strict) -> dict[str, str]:
    """Return every field of a configuration, none of which has a default, as canonical JSON."""
    return {name: section_json(value) if isinstance(value, Strict) else _scalar_json(value) for name, value in config}


class StreamConfig(Strict):
    """An endless, reproducible sequence of augmented batches."""

    data: Data
    augmentation: Augmentation
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

    data: Data
    augmentation: Augmentation
    augmentation_strength: Fraction
    learner: Learner
    seed: int
    member: int = Field(ge=1)
    """Place in the ensemble, from 1. The same (seed, member) is the same teacher in an ensemble of any size."""

    @cached_property
    def teacher_id(self) -> str:
        """Digest of everything that the weights depend on."""
        return digest_of_parts(_parts_of(self) | {"kind": '"teacher"'})

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


class Settings(NamedTuple):
    """The fields of a trial that are no sections; `TrialConfig` says what they mean."""

    augmentation_strength: float
    ensemble_size: int
    seed: int
    teacher_strengths: tuple[float, ...] | None
    student_strength: float | None

    @property
    def strengths_of_teachers(self) -> tuple[float, ...]:
        """The strength at which each teacher is trained, member 1 first."""
        return self.teacher_strengths or (self.augmentation_strength,) * self.ensemble_size

    @property
    def strength_of_student(self) -> float:
        """The strength of the images that the student sees."""
        return self.augmentation_strength if self.student_strength is None else self.student_strength


def mean_strength(strengths: tuple[float, ...]) -> float:
    """Return the strength that stands for those of several teachers."""
    return strengths[0] if len(set(strengths)) == 1 else float(f"{sum(strengths) / len(strengths):.12g}")


def reference_augmentation(augmentation: Augmentation) -> Augmentation:
    """Return the augmentation that shows clean images at strength 0: the weakest of the paper's presets does not."""
    return Augmentation() if augmentation.pipeline == "weak_strong" else augmentation


def trial_digest(sections: Mapping[str, str], settings: Settings) -> str:
    """Return the id of a trial.

    Args:
        sections: `section_json` of each of `SECTIONS`.
        settings: its other fields, with size and strength as `teacher_strengths` gives them, where that is set.
    """
    parts = {name: text for name, text in sections.items() if text != _NOTHING or name == "data"}
    strength, size, seed, teacher_strengths, student_strength = settings
    if strength != 0.0:
        parts["augmentation_strength"] = _scalar_json(strength)
    if size != 1:
        parts["ensemble_size"] = _scalar_json(size)
    if seed != 0:
        parts["seed"] = _scalar_json(seed)
    if teacher_strengths is not None and set(teacher_strengths) != {strength}:  # else they say nothing more
        parts["teacher_strengths"] = _scalar_json(teacher_strengths)
    if student_strength is not None and student_strength != strength:
        parts["student_strength"] = _scalar_json(student_strength)
    parts["kind"] = '"trial"'
    return digest_of_parts(parts)


class TrialConfig(Strict):
    """One point of the search space with everything that decides its result."""

    data: Data = Data()
    augmentation: Augmentation = Augmentation()
    teacher: Learner = Learner()
    student: Learner = Learner()
    distillation: Distillation = Distillation()
    metrics: Metrics = Metrics()
    augmentation_strength: Fraction = 0.0
    """0: clean images. 1: the strongest. Teachers and student alike; with `teacher_strengths`, their mean."""
    ensemble_size: int = Field(1, ge=1, le=MAX_TEACHERS)
    """How many teachers; with `teacher_strengths`, as many as that lists."""
    seed: Seed = 0
    teacher_strengths: Annotated[tuple[Fraction, ...], Field(min_length=1, max_length=MAX_TEACHERS)] | None = None
    """The strength at which each teacher is trained, member 1 first. Null: `augmentation_strength` for all."""
    student_strength: Fraction | None = None
    """The strength of the images that the student sees, and its teachers with it. Null: `augmentation_strength`."""

    @model_validator(mode="after")
    def _follow_the_teachers(self) -> "TrialConfig":
        """Set the ensemble's size and mean strength from `teacher_strengths`, or refuse others that were given."""
        strengths = self.teacher_strengths
        if strengths is None:
            return self
        mean = mean_strength(strengths)
        given = self.model_fields_set
        if "ensemble_size" in given and self.ensemble_size != len(strengths):
            raise ValueError(f"ensemble_size {self.ensemble_size} is not {len(strengths)}, as teacher_strengths lists")
        if "augmentation_strength" in given and abs(self.augmentation_strength - mean) > 1e-9:
            raise ValueError(
                f"augmentation_strength {self.augmentation_strength:g} is not {mean:g}, the mean of teacher_strengths"
            )
        object.__setattr__(self, "ensemble_size", len(strengths))
        object.__setattr__(self, "augmentation_strength", mean)
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
        return trial_digest({name: section_json(getattr(self, name)) for name in SECTIONS}, self.settings)

    @property
    def settings(self) -> "Settings":
        """The fields that are no sections."""
        return Settings(
            self.augmentation_strength, self.ensemble_size, self.seed, self.teacher_strengths, self.student_strength
        )

    @property
    def strengths_of_teachers(self) -> tuple[float, ...]:
        """The strength at which each teacher is trained, member 1 first."""
        return self.settings.strengths_of_teachers

    @property
    def strength_of_student(self) -> float:
        """The strength of the images that the student sees."""
        return self.settings.strength_of_student

    def at(self, dotted: str) -> Any:
        """Return the value of a field by its dotted name, `distillation.temperature`; of the strengths, what holds."""
        if dotted == "teacher_strengths":
            return self.strengths_of_teachers
        if dotted == "student_strength":
            return self.strength_of_student
        value: Any = self
        for name in dotted.split("."):
            value = getattr(value, name)
        return value

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
                learner=self.teacher,
                seed=self.seed,
                member=member,
            )
            for member, strength in enumerate(self.strengths_of_teachers, 1)
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
            augmentation_strength=self.strength_of_student,
            batch_size=self.student.batch_size,
            seed=derived_seed("student-stream", self.seed),
        )

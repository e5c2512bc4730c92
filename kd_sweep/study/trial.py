"""What one trial is, which teachers it needs, which images it sees; each named by the digest of its content."""

from functools import cached_property
from typing import Annotated, Any

from pydantic import Field, model_validator

from kd_sweep.study.digest import derived_seed, digest
from kd_sweep.study.recipe import Augmentation, Data, Distillation, Fraction, Learner, Metrics, Seed, Strict

MAX_TEACHERS = 64


def _content(model: Strict) -> dict[str, Any]:
    """Return the fields that differ from their defaults: a field added later, at its default, renames nothing."""
    content = model.model_dump(mode="json", exclude_defaults=True)
    for section in content.values():
        if isinstance(section, dict) and "weights_digest" in section:
            section.pop("weights", None)  # says where the file lies, and not which it is
    return content


PLACES = ("path", "train_list", "val_list", "download")
"""Fields of `data` that say where images come from, and not which they are, once they have a fingerprint."""


def data_identity(data: Data) -> dict[str, Any]:
    """Return what makes a dataset itself: its fingerprint, where it has one, and not the place it lies at."""
    content = _content(data)
    if data.fingerprint is not None:
        for place in PLACES:
            content.pop(place, None)
    return content


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
        content = _content(self) | {"data": data_identity(self.data), "kind": "stream"}
        return digest(content)


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
        content = _content(self) | {"data": data_identity(self.data), "kind": "teacher"}
        return digest(content)

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
        mean = strengths[0] if len(set(strengths)) == 1 else float(f"{sum(strengths) / len(strengths):.12g}")
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
        content = _content(self) | {"data": data_identity(self.data), "kind": "trial"}
        if set(self.strengths_of_teachers) == {self.augmentation_strength}:
            content.pop("teacher_strengths", None)  # says nothing more than strength and size
        if self.strength_of_student == self.augmentation_strength:
            content.pop("student_strength", None)
        return digest(content)

    @property
    def strengths_of_teachers(self) -> tuple[float, ...]:
        """The strength at which each teacher is trained, member 1 first."""
        return self.teacher_strengths or (self.augmentation_strength,) * self.ensemble_size

    @property
    def strength_of_student(self) -> float:
        """The strength of the images that the student sees."""
        return self.augmentation_strength if self.student_strength is None else self.student_strength

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
        # The weakest of the paper's presets is no clean image.
        is_preset = self.augmentation.pipeline == "weak_strong"
        return TeacherConfig(
            data=self.data,
            augmentation=Augmentation() if is_preset else self.augmentation,
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

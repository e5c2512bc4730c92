"""The configurations of a trial, its teachers and their image streams, each named by the digest of its content."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Annotated, Any, NamedTuple

from pydantic import Field, model_validator

from kd_sweep.catalogue.parameters import Seed, Strict
from kd_sweep.catalogue.selecting_section import SelectingSection
from kd_sweep.study.identity import SECTIONS, derived_seed, digest_of_parts
from kd_sweep.study.recipe import (
    NO_CONTROL,
    RANDOM_WEIGHTS,
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
    TeacherControl,
    member_learner,
)
from kd_sweep.study.section_digests import NOTHING, parts_of, scalar_json, section_json

MAX_TEACHERS = 64
NO_FIXED_LOGITS = "has no logits of images that are mixed with others, as by pipeline"

Strengths = Annotated[tuple[Fraction, ...], Field(min_length=1, max_length=MAX_TEACHERS)]
"""Of an ensemble, member 1 first."""


class StreamConfig(Strict):
    """An endless, reproducible sequence of augmented batches."""

    data: SelectedData
    augmentation: SelectedAugmentation
    augmentation_strength: Fraction
    batch_size: int
    seed: int
    """Two streams that differ in nothing else show other pixels in another order."""
    augmentation_seed: int | None = None
    """Two streams that differ in nothing else show other pixels in the same order. Null: as `seed`."""

    @cached_property
    def stream_id(self) -> str:
        """Digest of what decides the pixels."""
        return digest_of_parts(parts_of(self) | {"kind": '"stream"'})


class TeacherConfig(Strict):
    """One teacher: an architecture, a training recipe, the images it saw, a seed."""

    data: SelectedData
    augmentation: SelectedAugmentation
    augmentation_strength: Fraction
    learner: SelectedLearner
    seed: int
    member: int = Field(ge=1)
    """Number in the ensemble, from 1. The same (seed, member) is the same teacher in an ensemble of any size."""
    control: TeacherControl = NO_CONTROL
    """As `distillation.teacher_control`."""

    @model_validator(mode="after")
    def _one_form_of_random_weights(self) -> "TeacherConfig":
        """Leave out what random weights do not depend on: images and how to learn from them."""
        if self.control == RANDOM_WEIGHTS:
            untrained = UNTRAINED | {"learner": untrained_learner(self.learner)}
            for name, value in untrained.items():
                object.__setattr__(self, name, value)
        return self

    @cached_property
    def teacher_id(self) -> str:
        """Digest of everything that the weights depend on."""
        return teacher_digest(parts_of(self))

    @property
    def init_seed(self) -> int:
        """Seed of the initial weights."""
        return derived_seed("teacher-init", self.seed, self.member)

    @property
    def epochs(self) -> int:
        """How many it is trained for."""
        return epochs_of(self.learner, self.control)

    @property
    def label_seed(self) -> int:
        """Seed of the order of shuffled labels, which all teachers of a seed share, as they share right ones."""
        return derived_seed("shuffled-labels", self.seed)

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


OF_NETWORKS = (Learner.selector, "precision")
"""The fields of a section that are about the network and not about how it is trained, beside the network's own."""

UNTRAINED: dict[str, Any] = {"augmentation": Augmentation(), "augmentation_strength": 0.0}
"""Of a teacher with random weights."""


@lru_cache(maxsize=4096)
def untrained_learner(learner: Learner) -> Learner:
    """Return the network of a section, and how it is run, with nothing of how it would be trained."""
    fields = {name: field.default for name, field in Learner.model_fields.items() if name not in OF_NETWORKS}
    return learner.changed(fields)


def epochs_of(learner: Learner, control: TeacherControl) -> int:
    """Return how many epochs a teacher is trained for."""
    return 0 if control == RANDOM_WEIGHTS else learner.epochs


def teacher_digest(parts: Mapping[str, str]) -> str:
    """Return the id of a teacher, from the canonical JSON of each of its fields: `section_json`, `scalar_json`."""
    return digest_of_parts({**parts, "kind": '"teacher"'})


SEED_LEVELS = ("student_order_seed", "student_initialisation_seed", "student_augmentation_seed")
"""The fields that set apart what otherwise follows from a trial's one seed. Teachers follow from that in any case."""


class Settings(NamedTuple):
    """The fields of a trial that are no sections; `TrialConfig` documents them."""

    teacher_strengths: tuple[float, ...]
    student_strength: float
    seed: int
    student_order_seed: int | None = None
    student_initialisation_seed: int | None = None
    student_augmentation_seed: int | None = None


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
    parts = {name: text for name, text in sections.items() if text != NOTHING or name == "data"}
    if len(set(members)) > 1:
        parts["members"] = f"[{','.join(members)}]"
    if settings.teacher_strengths != (0.0,):
        parts["teacher_strengths"] = scalar_json(settings.teacher_strengths)
    if settings.student_strength != 0.0:
        parts["student_strength"] = scalar_json(settings.student_strength)
    if settings.seed != 0:
        parts["seed"] = scalar_json(settings.seed)
    for name in SEED_LEVELS:
        if getattr(settings, name) is not None:
            parts[name] = scalar_json(getattr(settings, name))
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
    student_order_seed: Seed | None = None
    """Of the order of the student's images, where it is not `seed`, from which everything else follows."""
    student_initialisation_seed: Seed | None = None
    """Of the student's initial weights, and of what the network draws while it learns, such as dropout."""
    student_augmentation_seed: Seed | None = None
    """Of the augmentation of the student's images."""
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
    def _one_form_of_seeds(self) -> "TrialConfig":
        for name in SEED_LEVELS:
            if getattr(self, name) == self.seed:
                object.__setattr__(self, name, None)
        return self

    @model_validator(mode="after")
    def _every_teacher_has_a_weight(self) -> "TrialConfig":
        weights = self.distillation.teacher_weights
        if weights is not None and len(weights) < self.ensemble_size:
            raise ValueError(f"teacher_weights has {len(weights)} weights for {self.ensemble_size} teachers")
        return self

    @model_validator(mode="after")
    def _every_teacher_has_epochs(self) -> "TrialConfig":
        for learner in self.learners:
            member_learner(learner, self.distillation, self.ensemble_size)
        return self

    @model_validator(mode="after")
    def _fixed_logits_are_of_one_image(self) -> "TrialConfig":
        if self.distillation.teacher_view == "fixed" and self.augmentation.mixes:
            raise ValueError(f"teacher_view 'fixed' {NO_FIXED_LOGITS} {self.augmentation.pipeline!r}")
        return self

    @cached_property
    def trial_id(self) -> str:
        """Digest of the whole configuration: the same configuration is the same trial, in any study."""
        sections = {name: section_json(getattr(self, name)) for name in SECTIONS}
        return trial_digest(sections, self.settings, [section_json(member) for member in self.members])

    @property
    def settings(self) -> Settings:
        """The fields that are no sections."""
        return Settings(**{name: getattr(self, name) for name in Settings._fields})

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
        if field in SEED_LEVELS:
            return self._seed_of(field)
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
        return derived_seed("student-init", self._seed_of("student_initialisation_seed"))

    @property
    def teachers(self) -> tuple[TeacherConfig, ...]:
        """The ensemble, member 1 first."""
        return tuple(
            TeacherConfig(
                data=self.data,
                augmentation=self.augmentation,
                augmentation_strength=strength,
                learner=member_learner(learner, self.distillation, self.ensemble_size),
                seed=self.seed,
                member=member,
                control=self.distillation.teacher_control,
            )
            for member, (strength, learner) in enumerate(zip(self.teacher_strengths, self.learners, strict=True), 1)
        )

    @property
    def measures_affinity(self) -> bool:
        """Whether the trial reports affinity and diversity: of teachers that learned nothing there is none."""
        return self.metrics.affinity and not self.distillation.teachers_are_controls

    @property
    def reference_teacher(self) -> TeacherConfig:
        """Member 1 without augmentation: affinity is measured with it."""
        return TeacherConfig(
            data=self.data,
            augmentation=reference_augmentation(self.augmentation),
            augmentation_strength=0.0,
            learner=member_learner(self.teacher, self.distillation, self.ensemble_size),
            seed=self.seed,
            member=1,
        )

    @property
    def needed_teachers(self) -> tuple[TeacherConfig, ...]:
        """Every teacher that the trial needs: the ensemble, and the one that affinity is measured with, each once."""
        teachers = (*self.teachers, self.reference_teacher) if self.measures_affinity else self.teachers
        return tuple({teacher.teacher_id: teacher for teacher in teachers}.values())

    @property
    def stream(self) -> StreamConfig:
        """The images that the student sees, and its teachers with it."""
        levels = ("student_order_seed", "student_augmentation_seed")
        order, pixels = (derived_seed("student-stream", self._seed_of(level)) for level in levels)
        return StreamConfig(
            data=self.data,
            augmentation=self.augmentation,
            augmentation_strength=self.student_strength,
            batch_size=self.student.batch_size,
            seed=order,
            augmentation_seed=None if pixels == order else pixels,
        )

    def _seed_of(self, level: str) -> int:
        seed: int | None = getattr(self, level)
        return self.seed if seed is None else seed

    @property
    def teacher_stream(self) -> StreamConfig:
        """The augmented images that teachers see while they teach: the student's, unless they have views of their own.

        With fixed views they see clean images, and augmented ones, the student's, for metrics alone.
        """
        stream = self.stream
        if self.distillation.teacher_view != "independent":
            return stream
        pixels = stream.seed if stream.augmentation_seed is None else stream.augmentation_seed
        seed = derived_seed("teacher-view", pixels)
        return StreamConfig(**{**dict(stream), "augmentation_seed": seed})


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

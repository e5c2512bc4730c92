"""The study file as typed fields. A rule that needs neither dataset nor cluster is checked when the spec is built."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ByteSize, Discriminator, Field, Tag, field_validator, model_validator

from kd_sweep.catalogue.parameters import MAX_COUNT, Count, Strict
from kd_sweep.study.extra_metrics import metric_named
from kd_sweep.study.recipe import (
    Augmentation,
    Data,
    Distillation,
    Learner,
    Metrics,
    SelectedAugmentation,
    SelectedData,
    SelectedDistillation,
    SelectedLearner,
    SelectedMetrics,
)
from kd_sweep.study.repeat_seeds import Seeds
from kd_sweep.study.sampler import Sampler, SelectedSampler
from kd_sweep.study.scheduler import NO_RULE, Scheduler, SelectedScheduler
from kd_sweep.study.teacher_entries import TeacherEntry
from kd_sweep.study.trial import MAX_TEACHERS
from kd_sweep.study.warm_trials import WarmStart

RESERVED_NAMES = ("teachers", "logits", "datasets", "service", "study.yaml")
"""Folders of a results root that are no studies."""

MAX_AMOUNT = 1e12
"""Of a custom resource: Ray counts in ten-thousandths, in 64 bits."""

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""Of the names of studies, which are those of their folders, too."""
Name = Annotated[str, Field(pattern=NAME_PATTERN)]

Scalar = bool | int | float | str | None
Value = Scalar | tuple[Scalar, ...]
"""What a searched field can be. Only `teacher_strengths` and `teacher_models` are lists."""


def _lists(conditions: Any) -> Any:
    """Write a value alone as a list of one, and every list as a tuple."""
    if not isinstance(conditions, dict):
        return conditions
    return {name: _tuple(value) if isinstance(value, list | tuple) else (value,) for name, value in conditions.items()}


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list | tuple) else value


When = Annotated[
    dict[str, Annotated[tuple[Value, ...], Field(min_length=1)]],
    BeforeValidator(
        _lists, json_schema_input_type=dict[str, Scalar | Annotated[tuple[Value, ...], Field(min_length=1)]]
    ),
]
"""By the name of another dimension, the value or values with which a dimension is there."""


class Grid(Strict):
    """Every value, crossed with the other grids. A scalar alone (`seed: 0`) is a grid of one."""

    grid: tuple[Value, ...] = Field(min_length=1)
    when: When = Field({})
    """Values of other dimensions, `{distillation.loss: dkd}`, without which the field is as outside `search`."""


class Choice(Strict):
    """One of these values."""

    choice: tuple[Value, ...] = Field(min_length=1)
    when: When = Field({})
    """As of a grid."""


class Uniform(Strict):
    """A number between two bounds, both included."""

    uniform: tuple[float, float]
    step: float | None = Field(None, gt=0.0)
    """Round to multiples of this above the lower bound."""
    log: bool = False
    """Uniform in the logarithm."""
    when: When = Field({})
    """As of a grid."""

    @model_validator(mode="after")
    def _bounds(self) -> "Uniform":
        low, high = self.uniform
        if not low < high:
            raise ValueError(f"the lower bound {low:g} is not below the upper bound {high:g}")
        if self.log and (low <= 0 or self.step is not None):
            raise ValueError("log needs a lower bound above 0 and no step")
        if self.step is not None and self.step > high - low:
            raise ValueError(f"step {self.step:g} is larger than the range from {low:g} to {high:g}")
        return self


class IntRange(Strict):
    """A whole number between two bounds, both included. Written `int: [low, high]`."""

    bounds: tuple[int, int] = Field(alias="int")
    step: int = Field(1, ge=1)
    when: When = Field({})
    """As of a grid."""

    @model_validator(mode="after")
    def _ordered(self) -> "IntRange":
        low, high = self.bounds
        if not low < high:
            raise ValueError(f"the lower bound {low} is not below the upper bound {high}")
        if self.step > high - low:
            raise ValueError(f"step {self.step} is larger than the range from {low} to {high}")
        return self


DIMENSION_KINDS = ("grid", "choice", "uniform", "int")


def dimension_kind(dimension: Any) -> str | None:
    """Return which one of `DIMENSION_KINDS` a search dimension is, or None where that is not clear."""
    if isinstance(dimension, dict):
        kinds = [kind for kind in DIMENSION_KINDS if kind in dimension]
        return kinds[0] if len(kinds) == 1 else None
    for model, kind in ((Grid, "grid"), (Choice, "choice"), (Uniform, "uniform"), (IntRange, "int")):
        if isinstance(dimension, model):
            return kind
    return None


Dimension = Annotated[
    Annotated[Grid, Tag("grid")]
    | Annotated[Choice, Tag("choice")]
    | Annotated[Uniform, Tag("uniform")]
    | Annotated[IntRange, Tag("int")],
    Discriminator(dimension_kind),
]


class Objective(Strict):
    """A reported metric, and whether more of it is better."""

    metric: str = "val_accuracy"
    mode: Literal["min", "max"] = "max"
    """Where it is left out, that of the metric, if one is better in itself: `max` of accuracies, `min` of losses."""

    @model_validator(mode="before")
    @classmethod
    def _mode_of_the_metric(cls, content: Any) -> Any:
        """Write the mode out, so that it is in the frozen study."""
        name = content.get("metric", "val_accuracy") if isinstance(content, dict) else None
        metric = metric_named(name) if isinstance(name, str) else None
        return content if metric is None or metric.better is None else {"mode": metric.better, **content}

    def better(self, value: float, best: float | None) -> bool:
        """Whether ``value`` is better than ``best``, the best so far."""
        if best is None:
            return True
        return value > best if self.mode == "max" else value < best

    def best_of(self, rows: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
        """Return the row with the best value, the first of equals; None where no row has one."""
        best: Mapping[str, Any] | None = None
        for row in rows:
            value = row.get(self.metric)
            if value is not None and (best is None or self.better(value, best[self.metric])):
                best = row
        return best


class Resources(Strict):
    """What one trial, or the training of one teacher, occupies."""

    cpus: Count = 1
    gpus: float = Field(0.0, ge=0.0, le=MAX_COUNT)
    """Fractions share a GPU between trials: 0.25 packs four on one."""
    custom: dict[str, Annotated[float, Field(ge=0.0, le=MAX_AMOUNT)]] = Field({})
    """Ray's custom resources by name."""
    lock_step: bool = False
    """Trials that share a GPU, or without GPUs a node, train their students in one process; those of one stream in lock
    step, with one pass of each teacher for all of them."""

    @field_validator("custom")
    @classmethod
    def _custom_is_not_built_in(cls, custom: dict[str, float]) -> dict[str, float]:
        for name in ("CPU", "GPU", "memory", "object_store_memory"):
            if name in custom:
                raise ValueError(f"{name!r} is one of Ray's own resources, not a custom one; possible: cpus, gpus")
        return custom

    @model_validator(mode="after")
    def _whole_gpus_above_one(self) -> "Resources":
        if self.gpus > 1 and not self.gpus.is_integer():
            raise ValueError(f"gpus {self.gpus} is not a fraction of one GPU or a whole number of them")
        return self

    @model_validator(mode="after")
    def _lock_step_needs_company(self) -> "Resources":
        if self.lock_step and self.gpus > 0.5:
            raise ValueError(
                f"lock_step is for trials that share a GPU, and with gpus {self.gpus:g} none do; possible: gpus of at "
                "most 0.5, lock_step: false"
            )
        return self

    def num_processes(self, slots: int) -> int:
        """Return in how many processes the students of so many trials at a time learn, on one machine."""
        return max(1, int(slots * self.gpus)) if self.lock_step else slots


class Budget(Strict):
    """Where the study ends at the latest; what is not done then stays for a later launch."""

    max_trials: Count | None = None
    """Start no more than this many trials in the study's life."""
    max_hours: float | None = Field(None, gt=0.0, le=MAX_COUNT)
    """Train no longer than this in the study's life, trials and teachers on all slots together."""


class Checkpoints(Strict):
    """Which weights of students stay on disk. What an unfinished trial goes on from always does."""

    best: bool = True
    """Keep those after the epoch that is best by the first objective, beside those after the newest epoch."""
    max_bytes: Annotated[ByteSize, Field(gt=0)] | None = None
    """Of the whole study's checkpoints, `50 GB` say. Above it, finished trials lose theirs, the worst by the first
    objective first. No limit when null."""


class Caches(Strict):
    """What is kept to save time, and can be computed again."""

    max_bytes: Annotated[ByteSize, Field(gt=0)] | None = None
    """Of what all teachers of the results root answered, `50 GB` say. Above it, answers go that no trial of the study
    will read, then those that running trials have behind them. No limit when null."""


class StudySpec(Strict):
    """A whole study: what is fixed, what is searched, and how it is run."""

    name: Name
    """The study's folder under the results root."""
    plugins: tuple[str, ...] = ()
    """Modules that add losses and the like to those that are built in. They are imported wherever the study runs."""
    plugins_digest: str | None = None
    """Digest of their source, filled in at launch: the study's folder keeps it, and goes on with it."""
    data: SelectedData = Data()
    augmentation: SelectedAugmentation = Augmentation()
    teacher: SelectedLearner = Learner()
    teachers: tuple[TeacherEntry, ...] = Field((), max_length=MAX_TEACHERS)
    """What teachers have of their own, member 1 first, over what they have in common in `teacher`. A larger ensemble
    goes through the list again; where `search.teacher_models` names models, those of an entry's model have it."""
    student: SelectedLearner = Learner()
    distillation: SelectedDistillation = Distillation()
    metrics: SelectedMetrics = Metrics()
    search: dict[str, Dimension] = Field({})
    """What varies: `augmentation_strength`, `ensemble_size`, `seed`, or any field above by its dotted name.

    `teacher_strengths` (a list for each value) and `student_strength` set teachers and student apart,
    `teacher_models` (a list for each value) the teachers among themselves.
    """
    objectives: tuple[Objective, ...] = Field((Objective(),), min_length=1)
    """What samplers optimise and the leaderboard sorts by; several give a Pareto set."""
    sampler: SelectedSampler = Sampler()
    scheduler: SelectedScheduler = Scheduler()
    resources: Resources = Resources()
    budget: Budget = Budget()
    checkpoints: Checkpoints = Checkpoints()
    caches: Caches = Caches()
    max_concurrent_trials: Count | None = None
    """As many as fit on the cluster when null."""
    retries: int = Field(1, ge=0, le=100)
    """How often a failed trial is tried again, from its newest checkpoint."""
    seeds: Seeds = None
    """Run each point with these seeds, and judge it by the mean; a number alone counts from 0. With `min` and `max`,
    seeds are added while verdicts are open. Each point has one seed, `search.seed`, when null."""
    warm_start: WarmStart | None = None
    """Another study, whose trials an adaptive sampler learns from. Of the launch: it cannot change."""

    @field_validator("name")
    @classmethod
    def _name_is_free(cls, name: str) -> str:
        if name.lower() in RESERVED_NAMES:
            special = {"study.yaml": "its frozen study", "service": "the lease of the service that runs its studies"}
            kept = special.get(name.lower(), f"{name.lower()} of all studies")
            where = "a study's folder" if name.lower() == "study.yaml" else "the results root"
            raise ValueError(f"{name!r} is taken: {where} keeps {kept} under that name")
        return name


def judged_by(spec: StudySpec) -> tuple[Objective, ...]:
    """Return the metrics and modes that the scheduler judges trials by; none where there is no scheduler."""
    scheduler, first = spec.scheduler, spec.objectives[0]
    if scheduler.name == NO_RULE:
        return ()
    if "metric" not in type(scheduler).model_fields:
        return spec.objectives
    metric, mode = getattr(scheduler, "metric", None), getattr(scheduler, "mode", None)
    return (Objective(metric=metric or first.metric, mode=mode or first.mode),)

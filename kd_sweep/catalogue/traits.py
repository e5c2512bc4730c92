"""What entries say of themselves, beside their parameters: a record for each kind that asks for more."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class PipelineTraits:
    """Of a pipeline."""

    num_draws: int | Callable[[Any], int] = 0
    """Of a plug-in: random numbers for each image, or a function of the parameters that returns how many."""
    clean_at_zero: bool = True
    """Whether images are clean at strength 0."""
    mixes: bool = False
    """Whether it mixes other images into an image."""


@dataclass(frozen=True)
class DatasetTraits:
    """Of a dataset."""

    image_size: int | None = None
    """`data.image_size` where a study leaves it out; None where it cannot."""
    horizontal_flip: bool = True
    """Whether mirroring an image keeps its label."""
    lists_files: bool = False
    """Whether its function lists image files, as `(parameters, cache_dir) -> UndecodedDataset`; else it returns
    `Arrays`."""
    has_validation: bool = False
    """Whether validation images come with it, as published."""
    has_fingerprint: bool = True
    """Not where its images are part of an installed package, and are the same everywhere."""
    levels: int = 255
    """Of arrays: the level of white, from 0 on, of which an image is made."""
    presets: Literal["cifar", "imagenet"] = "imagenet"
    """Whose published presets and policies are for it."""


@dataclass(frozen=True)
class MetricTraits:
    """Of a metric."""

    meaning: str
    """Its definition in a sentence or two, on one line."""
    low: float = -math.inf
    high: float = math.inf
    """The range of its values, both ends included."""
    unit: str = "number"
    about: Literal["student", "teachers", "ensemble", "student and teachers"] = "student"
    """Whom it is about: what is about teachers or the ensemble alone is the same whatever the student does."""
    better: Literal["max", "min"] | None = None
    """The mode of an objective that gives none; None where neither more nor less is better in itself."""
    can_be_null: bool = False
    """Whether it may have no value."""


@dataclass(frozen=True)
class SamplerTraits:
    """Of a sampler."""

    plans: bool = False
    """Whether its function returns all points of a study before any is run, as `(spec) -> Iterable[Point]`; else it
    makes a sampler of Optuna's for one suggestion, as `(parameters, request) -> BaseSampler`."""
    learns: bool = True
    """Whether results change what it suggests."""
    max_objectives: int | None = None
    """How many it can optimise; None for any number."""
    min_ranges: int = 0
    """How many dimensions it needs that are `int` or `uniform`, without a condition."""
    generation_key: str | None = None
    """The attribute of Optuna's trials that holds their generation; None where there is none."""
    package: str | None = None
    """What must be installed beside kd_sweep; the extra `samplers` has it."""

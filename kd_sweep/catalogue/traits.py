"""What entries say of themselves, beside their parameters: a record for each kind that asks for more."""

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

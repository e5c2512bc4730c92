"""What entries say of themselves, beside their parameters: a record for each kind that asks for more."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PipelineTraits:
    """Of a pipeline."""

    num_draws: int | Callable[[Any], int] = 0
    """Of a plug-in: random numbers for each image, or a function of the parameters that returns how many."""
    clean_at_zero: bool = True
    """Whether images are clean at strength 0."""

"""What a sampler is asked for: one suggestion."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class SamplerRequest:
    """A suggestion for which a sampler is made."""

    number: int
    """Of the suggestion in the study's life, from 0; some numbers are left out."""
    seed: int
    """Of all random numbers that the suggestion takes: another one for each number, below 2**32."""
    space: "Mapping[str, BaseDistribution]"
    """Every dimension by its name, those that decide on others first. Values of a list are categories 0, 1, …; an `int`
    and a `uniform` with a step go by the index of the value, from 0; any other is a number between its bounds."""
    conditional: frozenset[str]
    """The dimensions that are not in every trial."""

"""Optuna's samplers as a search asks for them: a new one for each suggestion, whose random numbers are its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna.distributions import BaseDistribution

from kd_sweep.study.adaptive_sampler import AdaptiveSampler, sampler_modules
from kd_sweep.study.identity import derived_seed

WARM = "warm_start"
"""The attribute of Optuna's trials that are those of another study."""


@dataclass(frozen=True)
class Request:
    """What a sampler is made for."""

    number: int
    """Of the suggestion, from 0."""
    seed: int
    """Of all random numbers that the suggestion takes; below 2**32."""
    space: Mapping[str, BaseDistribution]
    """Every dimension, those that decide on others first. What is finite goes by its index, lists as categories."""
    conditional: frozenset[str]
    """The dimensions that are not in every trial."""


class OptunaSampler(Protocol):
    """The function `optuna_sampler` of a sampler's file."""

    def __call__(self, settings: Any, request: Request) -> optuna.samplers.BaseSampler:
        """Return Optuna's sampler for one suggestion.

        What it suggests must be a function of the settings, the request and the trials of Optuna's study. It can keep
        no state, and trials count by their order and not by their numbers: a resumed search has them in another study.

        Args:
            settings: of the sampler, as the study file gives them.
            request: the suggestion.
        """


def sampler_for(
    settings: AdaptiveSampler, number: int, space: Mapping[str, BaseDistribution], conditional: frozenset[str]
) -> optuna.samplers.BaseSampler:
    """Return the sampler of suggestion ``number``."""
    make: OptunaSampler = sampler_modules()[settings.name].optuna_sampler
    seed = derived_seed(settings.name, settings.seed, number) % 2**32
    return make(settings, Request(number, seed, space, conditional))

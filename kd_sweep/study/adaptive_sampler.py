"""The adaptive samplers, which suggest one trial after another: what they have in common, and where they are.

Each is a file of `FOLDER`, of the sampler's name. It has one subclass of `AdaptiveSampler` with the sampler's settings,
and a function `optuna_sampler` (`driver/tune/optuna_samplers.py`). It loads neither Optuna nor torch at its top.
"""

import importlib
import pkgutil
from functools import cache
from types import ModuleType
from typing import ClassVar

from kd_sweep.catalogue.parameters import Strict
from kd_sweep.study.recipe import Count, Seed

FOLDER = "kd_sweep.driver.tune.samplers"


class AdaptiveSampler(Strict):
    """The settings of a sampler. A subclass has a `name`, a literal, and what else it takes."""

    name: str
    num_trials: Count = 20
    """Distinct trials; fewer where the space has fewer points."""
    seed: Seed = 0

    learns: ClassVar[bool] = True
    """Whether results change what it suggests."""
    max_objectives: ClassVar[int | None] = None
    """How many it can optimise; None for any number."""
    min_ranges: ClassVar[int] = 0
    """How many dimensions it needs that are `int` or `uniform`, without a condition."""
    package: ClassVar[str | None] = None
    """What must be installed beside kd_sweep; the extra `samplers` has it."""
    generations: ClassVar[str | None] = None
    """The attribute of Optuna's trials that holds their generation; None where there is none."""


@cache
def sampler_modules() -> dict[str, ModuleType]:
    """Return the file of every sampler, by its name."""
    folder = importlib.import_module(FOLDER)
    names = sorted(module.name for module in pkgutil.iter_modules(folder.__path__))
    return {name: importlib.import_module(f"{FOLDER}.{name}") for name in names}


@cache
def sampler_settings() -> dict[str, type[AdaptiveSampler]]:
    """Return the settings of every sampler, by its name."""
    return {
        name: next(
            item
            for item in vars(module).values()
            if isinstance(item, type) and issubclass(item, AdaptiveSampler) and item.__module__ == module.__name__
        )
        for name, module in sampler_modules().items()
    }

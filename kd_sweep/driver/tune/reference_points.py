"""Optuna's NSGA-III, such that all suggestions of a generation have the same parents."""

import warnings

import optuna
from optuna.trial import FrozenTrial

from kd_sweep.study.identity import derived_seed


class ReferencePointSampler(optuna.samplers.NSGAIIISampler):
    """NSGA-III whose parents are the same whenever they are selected.

    It selects them with random numbers, once a generation, and remembers them in Optuna's study. Here each suggestion
    has a study of its own; so they are drawn with a seed of the generation.

    Args:
        seed: of the suggestion.
        population_size: trials of a generation.
        divisions: of each objective's axis between reference points.
        search_seed: of the whole search.
    """

    def __init__(self, seed: int, population_size: int, divisions: int, search_seed: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(seed=seed, population_size=population_size, dividing_parameter=divisions)
        self._made_with = (population_size, divisions, search_seed)

    def select_parent(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """Return the parents of a generation."""
        search_seed = self._made_with[-1]
        seed = derived_seed("nsga3-parents", search_seed, generation) % 2**32
        of_generation = ReferencePointSampler(seed, *self._made_with)
        return optuna.samplers.NSGAIIISampler.select_parent(of_generation, study, generation)

"""Profiles: an outcome along all levels of a dimension, seed by seed, over the same settings at every level.

Shape suffixes: S seeds, K levels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from kd_sweep.analysis.comparisons import Pair, extremes, strata
from kd_sweep.analysis.sample import Sample
from kd_sweep.analysis.trial_settings import STRENGTH, Setting
from kd_sweep.analysis.wording import counted, listed
from kd_sweep.statistics.intervals import Floats

_WELL_COVERED = 0.5
"""A level with a smaller share of the trials of the best covered one is left out: it would cost all other seeds."""

Level = TypeVar("Level", int, float)
Cells = list[list[Setting]]
"""For each level, the settings that are averaged."""


@dataclass(frozen=True)
class Profiles:
    """The outcome of every complete seed at every level, each a mean over the same settings."""

    levels_K: Floats
    values_SK: Floats
    num_pairs: int
    """Of settings, in all seeds: how many times an outcome is compared with itself at another level."""
    missing: tuple[str, ...]
    """What was left out, in words."""

    @property
    def num_seeds(self) -> int:
        """Seeds that have every setting at every level."""
        return len(self.values_SK)


def profiles(
    sample: Sample,
    outcome: str,
    settings: Sequence[Setting],
    varied: str,
    measure: Callable[[float], float] = float,
) -> Profiles | None:
    """Return the balanced profiles of an outcome; None where no two settings differ in this dimension alone.

    A seed counts with all its settings or not at all: if the trials of three teachers failed in some seeds, a mean over
    what is left would compare one teacher there with a mixture here.

    Args:
        sample: the study's trials.
        outcome: a metric.
        settings: of one arm.
        varied: the dimension.
        measure: what is taken of each trial's value.
    """
    by_stratum = strata(settings, varied)
    members = {key: levels for key, levels in by_stratum.items() if len(levels) > 1}
    if any(len(cell) > 1 for levels in members.values() for cell in levels.values()):
        return _of_extremes(sample, outcome, settings, varied, measure)
    kept, left_out = _well_covered(sample, outcome, members)
    blocks = [levels for levels in members.values() if kept and {kept[0], kept[-1]} <= levels.keys()]
    if not blocks:
        return None
    levels = [level for level in kept if all(level in block for block in blocks)]
    cells = [[block[level][0] for block in blocks] for level in levels]
    lacking = [levels for levels in by_stratum.values() if levels not in blocks]
    return _profiles(sample, outcome, levels, cells, varied, measure, [*left_out, *_without_ends(lacking, kept)])


def _of_extremes(
    sample: Sample, outcome: str, settings: Sequence[Setting], varied: str, measure: Callable[[float], float]
) -> Profiles | None:
    """Return the lowest and the highest level alone, where several lists of strengths share a mean."""
    comparison = extremes(settings, varied)
    if comparison is None:
        return None
    two_levels = pair_profiles(sample, outcome, comparison.pairs, measure)
    return replace(two_levels, levels_K=np.array([comparison.from_level, comparison.to_level]))


def pair_profiles(
    sample: Sample, outcome: str, pairs: Sequence[Pair], measure: Callable[[float], float] = float
) -> Profiles:
    """Return the balanced profiles of two arms, at 0 and 1: means over the first and the second of all pairs that some
    seed has.
    """
    known = [pair for pair in pairs if _seeds_of_pair(sample, outcome, pair)]
    cells = [[first for first, _ in known], [second for _, second in known]]
    return _profiles(sample, outcome, [0.0, 1.0], cells, STRENGTH, measure, [])


def _seeds_of_pair(sample: Sample, outcome: str, pair: Pair) -> set[int]:
    first, second = (sample.trials.of(outcome)[setting].keys() for setting in pair)
    return first & second


def _profiles(
    sample: Sample,
    outcome: str,
    levels: list[float],
    cells: Cells,
    varied: str,
    measure: Callable[[float], float],
    left_out: list[str],
) -> Profiles:
    complete: list[list[float]] = []
    lacking: list[list[Setting]] = []
    of_cells = [[sample.trials.of(outcome)[setting] for setting in cell] for cell in cells]
    for seed in sorted({seed for cell in of_cells for seeds in cell for seed in seeds}):
        values = [[seeds.get(seed) for seeds in cell] for cell in of_cells]
        known = [[measure(value) for value in row if value is not None] for row in values]
        if all(len(row) == len(cell) for row, cell in zip(known, cells, strict=True)):
            complete.append([sum(row) / len(row) for row in known])
        elif any(known):
            pairs = (pair for cell, row in zip(cells, values, strict=True) for pair in zip(cell, row, strict=True))
            lacking.append([setting for setting, value in pairs if value is None])
    values_SK = np.array(complete).reshape(len(complete), len(levels))
    missing = (*left_out, *_incomplete(lacking, len(complete), varied))
    return Profiles(np.array(levels), values_SK, len(complete) * len(cells[0]), missing)


def well_covered(counts: Mapping[Level, int]) -> list[Level]:
    """Return the levels, ascending, that have enough trials for the others to be compared with them."""
    most = max(counts.values(), default=0)
    return sorted(level for level, number in counts.items() if number >= _WELL_COVERED * most)


def _well_covered(
    sample: Sample, outcome: str, members: dict[Setting, dict[float, list[Setting]]]
) -> tuple[list[float], list[str]]:
    """Return the levels that enough trials have for the others to be compared with them, and a note on the others."""
    counts: dict[float, int] = {}
    for levels in members.values():
        for level, cell in levels.items():
            number = sum(len(sample.trials.of(outcome)[setting]) for setting in cell)
            counts[level] = counts.get(level, 0) + number
    kept, most = well_covered(counts), max(counts.values(), default=0)
    if len(kept) < 2:
        return sorted(counts), []
    few = [f"strength {level:g} ({counts[level]} of {most} trials)" for level in sorted(counts) if level not in kept]
    return kept, [listed(few)] if few else []


def _without_ends(lacking: list[dict[float, list[Setting]]], kept: list[float]) -> list[str]:
    sizes = sorted({cell[0].ensemble_size for levels in lacking for cell in levels.values()})
    if not sizes:
        return []
    which = f"ensemble size {listed([str(size) for size in sizes])}"
    return [f"{counted(len(lacking), 'setting')} without both strength {kept[0]:g} and {kept[-1]:g} ({which})"]


def _incomplete(lacking: list[list[Setting]], num_complete: int, varied: str) -> list[str]:
    """Return how many seeds lack trials, and which."""
    if not lacking:
        return []
    times: dict[tuple[float, int], int] = {}
    for settings in lacking:
        for cell in dict.fromkeys((getattr(setting, varied), setting.ensemble_size) for setting in settings):
            times[cell] = times.get(cell, 0) + 1
    most = sorted(times, key=lambda cell: (-times[cell], cell))[:3]
    cells = listed([f"strength {level:g} with ensemble size {size} in {times[level, size]}" for level, size in most])
    more = " and others" if len(times) > len(most) else ""
    return [f"{len(lacking)} of {counted(len(lacking) + num_complete, 'seed')}, which lack trials ({cells}{more})"]

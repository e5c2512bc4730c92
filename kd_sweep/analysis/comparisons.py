"""The comparisons of settings: those that differ in one dimension and in nothing else."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kd_sweep.analysis.trial_settings import BOTH, SIZE, STRENGTH, STUDENT, Setting

ADJACENT, EXTREMES = "adjacent", "lowest-highest"

Pair = tuple[Setting, Setting]


@dataclass(frozen=True)
class Comparison:
    """Two levels of one dimension, and the pairs of settings that differ in nothing else."""

    varied: str
    kind: str
    from_level: float | None
    """None where what varies is no number."""
    to_level: float | None
    is_pooled: bool
    """Over everything that is held equal within a pair; else there is one pair."""
    pairs: Sequence[Pair]


def comparisons(settings: Iterable[Setting], dimensions: Iterable[str]) -> Iterator[Comparison]:
    """Yield what can be compared: for each dimension within each stratum of equal other fields, adjacent levels and
    the lowest with the highest; then the same pooled over the strata.

    Args:
        settings: of one arm, all with a value of the outcome.
        dimensions: what may vary.
    """
    settings = list(settings)
    for varied in dimensions:
        pooled: dict[tuple[str, float, float], list[Pair]] = {}
        levels = sorted({getattr(setting, varied) for setting in settings})
        spans = {(low, high): kind for kind, low, high in _spans(levels)}
        for members in strata(settings, varied).values():
            for kind, low, high in _spans(sorted(members)):
                pairs = [pair for pair in itertools.product(members[low], members[high]) if _is_comparable(*pair)]
                for pair in pairs:
                    yield Comparison(varied, kind, low, high, False, [pair])
                # Neighbours in a stratum need not be neighbours in the study.
                if (low, high) in spans:
                    pooled.setdefault((spans[low, high], low, high), []).extend(pairs)
        for kind, low, high in _spans(levels):
            if pooled.get((kind, low, high)):
                yield Comparison(varied, kind, low, high, True, pooled[kind, low, high])


def extremes(settings: Iterable[Setting], varied: str) -> Comparison | None:
    """Return the pooled comparison of the lowest with the highest level; None where no two settings allow it."""
    for comparison in comparisons(settings, [varied]):
        if comparison.kind == EXTREMES and comparison.is_pooled:
            return comparison
    return None


def strata(settings: Iterable[Setting], varied: str) -> dict[Setting, dict[float, list[Setting]]]:
    """Return the settings that are equal in everything but one dimension, by its levels."""
    by_stratum: dict[Setting, dict[float, list[Setting]]] = {}
    for setting in settings:
        members = by_stratum.setdefault(stratum(setting, varied), {})
        members.setdefault(getattr(setting, varied), []).append(setting)
    return by_stratum


def paired_differences(values: Mapping[Setting, Mapping[int, float]], pair: Pair) -> dict[int, float]:
    """Return seed -> the second setting's value minus the first's, of the seeds that have both."""
    first, second = values[pair[0]], values[pair[1]]
    return {seed: second[seed] - before for seed, before in first.items() if seed in second}


def stratum(setting: Setting, varied: str) -> Setting:
    """Return the setting without what varies. Of ensembles of two sizes, those are alike whose teachers have one
    strength, the same; a mix of another size is another mix.
    """
    if varied == STRENGTH:
        return setting._replace(augmentation_strength=0.0, mix=())
    if varied == STUDENT:
        return setting._replace(student_strength=0.0)
    if varied == BOTH:
        return setting._replace(augmentation_strength=0.0, student_strength=0.0, mix=())
    assert varied == SIZE
    return setting._replace(ensemble_size=0)


def _is_comparable(low: Setting, high: Setting) -> bool:
    """Whether no teacher has a lower strength in the second, where the mean of them is higher."""
    # Ensembles of other sizes have one strength for all.
    return all(first <= second for first, second in zip(low.teachers, high.teachers, strict=False))


def _spans(levels: Sequence[float]) -> list[tuple[str, float, float]]:
    """Return (kind, lower, upper) of the neighbours among sorted levels, and of the outermost two."""
    if len(levels) < 2:
        return []
    adjacent = [(ADJACENT, low, high) for low, high in itertools.pairwise(levels)]
    return [*(adjacent if len(levels) > 2 else []), (EXTREMES, levels[0], levels[-1])]

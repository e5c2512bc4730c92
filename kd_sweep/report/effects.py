"""Means per setting, and what changes between two settings of the same seed."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from kd_sweep.report.intervals import MIN_CLUSTERS, Bootstrap, Estimate
from kd_sweep.report.sample import Sample, Setting

DIMENSIONS = ("augmentation_strength", "ensemble_size")
MEAN, ADJACENT, EXTREMES = "mean", "adjacent", "lowest-highest"

EFFECTS = pa.schema(
    [
        ("study", pa.string()),
        ("outcome", pa.string()),
        ("kind", pa.string()),
        ("varied", pa.string()),
        ("from_level", pa.float64()),
        ("to_level", pa.float64()),
        ("augmentation_strength", pa.float64()),
        ("ensemble_size", pa.int32()),
        ("other_fields", pa.string()),
        ("is_pooled", pa.bool_()),
        ("estimate", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("t_low", pa.float64()),
        ("t_high", pa.float64()),
        ("std", pa.float64()),
        ("num_pairs", pa.int32()),
        ("num_seeds", pa.int32()),
        ("note", pa.string()),
    ]
)
"""`kind` is `mean` (of one setting over seeds), `adjacent` or `lowest-highest` (mean difference between two levels of
`varied`, paired by seed; two levels alone are `lowest-highest`). `augmentation_strength`, `ensemble_size` and
`other_fields` are what was held fixed, null where pooled. `low`, `high`: bootstrap over seeds; `t_low`, `t_high`:
Student's t; null below three seeds. `std`: between seeds. `num_pairs` counts trials for a mean."""

Pair = tuple[Setting, Setting]


@dataclass(frozen=True)
class Comparison:
    """Two levels of one dimension, and the pairs of settings that differ in nothing else."""

    varied: str
    kind: str
    from_level: float
    to_level: float
    held: Setting | None
    """Either setting of the pair, for what they share; None where pooled over everything else."""
    pairs: Sequence[Pair]


@dataclass(frozen=True)
class PairedEffect:
    """The mean difference between the two levels, one value per seed."""

    comparison: Comparison
    estimate: Estimate
    num_pairs: int


def effects_table(sample: Sample, outcomes: Iterable[str], bootstrap: Bootstrap) -> pa.Table:
    """Return the mean of each setting and the effect of each comparison, for each outcome, as `EFFECTS`."""
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        rows += [{"outcome": outcome, **row} for row in _mean_rows(sample, outcome, bootstrap)]
        for comparison in comparisons(sample, outcome):
            effect = paired_effect(sample, outcome, comparison, bootstrap)
            if effect is not None:
                rows.append({"outcome": outcome, **_effect_row(effect, bootstrap)})
    return pa.Table.from_pylist([{"study": sample.study, **row} for row in rows], schema=EFFECTS)


def comparisons(sample: Sample, outcome: str) -> Iterator[Comparison]:
    """Yield what can be compared of the settings that have the outcome: for each dimension within each stratum of
    equal other fields, adjacent levels and the lowest with the highest; then the same pooled over the strata.
    """
    settings = [
        setting for setting, seeds in sample.trials.items() if any(outcome in values for values in seeds.values())
    ]
    for varied in DIMENSIONS:
        strata: dict[Setting, dict[float, Setting]] = {}
        for setting in settings:
            strata.setdefault(_stratum(setting, varied), {})[getattr(setting, varied)] = setting
        pooled: dict[tuple[str, float, float], list[Pair]] = {}
        levels = sorted({getattr(setting, varied) for setting in settings})
        spans = {(low, high): kind for kind, low, high in _spans(levels)}
        for members in strata.values():
            for kind, low, high in _spans(sorted(members)):
                pair = (members[low], members[high])
                yield Comparison(varied, kind, low, high, members[low], [pair])
                # Neighbours in a stratum need not be neighbours in the study.
                if (low, high) in spans:
                    pooled.setdefault((spans[low, high], low, high), []).append(pair)
        for kind, low, high in _spans(levels):
            if (kind, low, high) in pooled:
                yield Comparison(varied, kind, low, high, None, pooled[kind, low, high])


def extremes(sample: Sample, outcome: str, varied: str) -> Comparison | None:
    """Return the pooled comparison of the lowest with the highest level; None where no two settings allow it."""
    for comparison in comparisons(sample, outcome):
        if comparison.varied == varied and comparison.kind == EXTREMES and comparison.held is None:
            return comparison
    return None


def paired_effect(sample: Sample, outcome: str, comparison: Comparison, bootstrap: Bootstrap) -> PairedEffect | None:
    """Return the mean over seeds of the difference, None where no seed has both levels.

    A seed that lacks one of the two arms gives no pair. Pairs of one seed are averaged first: they share teachers
    and images, so they are one observation, and the bootstrap resamples seeds.
    """
    differences = paired_differences(sample.trials, outcome, comparison.pairs)
    if not differences:
        return None
    estimate = bootstrap.estimate(np.array([np.mean(values) for values in differences.values()]))
    return PairedEffect(comparison, estimate, sum(map(len, differences.values())))


def paired_differences(
    trials: Mapping[Setting, Mapping[int, Mapping[str, float]]], outcome: str, pairs: Iterable[Pair]
) -> dict[int, list[float]]:
    """Return seed -> the second setting's value minus the first's, for every pair in which the seed has both."""
    differences: dict[int, list[float]] = {}
    for first, second in pairs:
        for seed in sorted(trials[first].keys() & trials[second].keys()):
            before, after = trials[first][seed].get(outcome), trials[second][seed].get(outcome)
            if before is not None and after is not None:
                differences.setdefault(seed, []).append(after - before)
    return dict(sorted(differences.items()))


def interval_columns(estimate: Estimate) -> dict[str, Any]:
    """Return an estimate's intervals, spread and size as table columns."""
    bootstrap, t = estimate.interval, estimate.t_interval
    return {
        "low": bootstrap and bootstrap.low,
        "high": bootstrap and bootstrap.high,
        "t_low": t and t.low,
        "t_high": t and t.high,
        "std": estimate.std,
        "num_seeds": estimate.num_clusters,
    }


def seeds_note(num_seeds: int, bootstrap: Bootstrap) -> str | None:
    """Return why there is no interval, or that the bootstrap's is too short; None where it is as it should be."""
    if num_seeds < MIN_CLUSTERS:
        return f"no interval: {num_seeds} seed{'s' if num_seeds > 1 else ''}, at least {MIN_CLUSTERS} are needed"
    coverage = bootstrap.coverage_limit(num_seeds)
    return f"the bootstrap of {num_seeds} seeds covers at most {coverage:.0%}" if coverage is not None else None


def shown_fields(setting: Setting) -> str:
    """Return the further searched fields of a setting, `distillation_temperature=4.0`; empty where there are none."""
    return ", ".join(f"{name}={value}" for name, value in setting.others)


def _stratum(setting: Setting, varied: str) -> Setting:
    if varied == "augmentation_strength":
        return setting._replace(augmentation_strength=0.0)
    return setting._replace(ensemble_size=0)


def _spans(levels: Sequence[float]) -> list[tuple[str, float, float]]:
    """Return (kind, lower, upper) of the neighbours among sorted levels, and of the outermost two."""
    if len(levels) < 2:
        return []
    adjacent = [(ADJACENT, low, high) for low, high in itertools.pairwise(levels)]
    return [*(adjacent if len(levels) > 2 else []), (EXTREMES, levels[0], levels[-1])]


def _mean_rows(sample: Sample, outcome: str, bootstrap: Bootstrap) -> Iterator[dict[str, Any]]:
    for setting, seeds in sample.trials.items():
        values = [trial[outcome] for trial in seeds.values() if outcome in trial]
        if not values:
            continue
        estimate = bootstrap.estimate(np.array(values))
        yield {
            "kind": MEAN,
            "augmentation_strength": setting.augmentation_strength,
            "ensemble_size": setting.ensemble_size,
            "other_fields": shown_fields(setting),
            "is_pooled": False,
            "estimate": estimate.value,
            **interval_columns(estimate),
            "num_pairs": len(values),
            "note": seeds_note(len(values), bootstrap),
        }


def _effect_row(effect: PairedEffect, bootstrap: Bootstrap) -> dict[str, Any]:
    comparison, held = effect.comparison, effect.comparison.held
    fixed = {name: getattr(held, name) for name in DIMENSIONS if held and name != comparison.varied}
    return {
        "kind": comparison.kind,
        "varied": comparison.varied,
        "from_level": comparison.from_level,
        "to_level": comparison.to_level,
        **fixed,
        "other_fields": shown_fields(held) if held else None,
        "is_pooled": held is None,
        "estimate": effect.estimate.value,
        **interval_columns(effect.estimate),
        "num_pairs": effect.num_pairs,
        "note": seeds_note(effect.estimate.num_clusters, bootstrap),
    }

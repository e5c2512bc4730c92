"""Effects: means per setting and differences between two settings of the same seed, as a table.

Shape suffixes: S seeds, P pairs of settings.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import pyarrow as pa

from kd_sweep.analysis.arm_contrasts import TRAINED_TEACHERS, arm_contrasts
from kd_sweep.analysis.comparisons import Comparison, comparisons, paired_differences
from kd_sweep.analysis.sample import Sample
from kd_sweep.analysis.trial_settings import BOTH, SIZE, STRENGTH, STUDENT, Setting
from kd_sweep.analysis.wording import counted
from kd_sweep.statistics.intervals import MIN_CLUSTERS, Bootstrap, Estimate, Floats
from kd_sweep.statistics.shapes import least_std

MEAN = "mean"
_OUTCOMES_AT_ONCE = 8
"""Of which effects are estimated together: all at once are 10,000 rows of objects."""

EFFECTS = pa.schema(
    [
        ("study", pa.string()),
        ("outcome", pa.string()),
        ("distillation_loss", pa.string()),
        ("attention_maps", pa.string()),
        ("kind", pa.string()),
        ("varied", pa.string()),
        ("from_level", pa.float64()),
        ("to_level", pa.float64()),
        ("augmentation_strength", pa.float64()),
        ("student_strength", pa.float64()),
        ("ensemble_size", pa.int32()),
        ("teacher_strengths", pa.string()),
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
"""The columns are described in docs/statistics.md."""


@dataclass(frozen=True)
class _Effect:
    """A row of the table before its estimate: those of several outcomes are estimated together."""

    row: dict[str, Any]
    values_S: Floats | None
    """None where no seed has every pair."""
    noise: float
    """The standard deviation that the resolution of the outcome hides."""
    num_incomplete: int = 0
    """Seeds that have some of the pairs, and do not count."""


def effects_table(sample: Sample, outcomes: Iterable[str], bootstrap: Bootstrap) -> pa.Table:
    """Return the mean of each setting and the effect of each comparison, for each outcome and arm, as `EFFECTS`."""
    outcomes = list(outcomes)
    blocks = [outcomes[at : at + _OUTCOMES_AT_ONCE] for at in range(0, len(outcomes), _OUTCOMES_AT_ONCE)]
    tables = [_table_of(sample, block, bootstrap) for block in blocks]
    return pa.concat_tables([EFFECTS.empty_table(), *tables]).combine_chunks()


def _table_of(sample: Sample, outcomes: Iterable[str], bootstrap: Bootstrap) -> pa.Table:
    effects = [effect for outcome in outcomes for effect in _of_outcome(sample, outcome)]
    known = [(effect.values_S, effect.noise) for effect in effects if effect.values_S is not None]
    estimates = iter(bootstrap.estimates(known))
    rows = (_estimated(one, None if one.values_S is None else next(estimates), bootstrap) for one in effects)
    return pa.Table.from_pylist([{"study": sample.study, **row} for row in rows], schema=EFFECTS)


def _of_outcome(sample: Sample, outcome: str) -> Iterator[_Effect]:
    step = sample.steps.get(outcome, 0.0)
    noise = least_std(np.array([-1.0, 1.0]), step)
    differences = cache(partial(paired_differences, sample.trials.of(outcome)))  # of a pair, alone and pooled
    arms = sample.arms(outcome)
    for arm, settings in arms.items():
        labels = {"outcome": outcome, "distillation_loss": arm.label, "attention_maps": arm.maps}
        for setting in settings:
            values = sample.trials.of(outcome)[setting].values()
            yield _Effect(labels | _mean_row(setting, len(values)), np.array(list(values)), least_std(np.ones(1), step))
        for comparison in comparisons(settings, sample.dimensions_of(settings)):
            yield from _of_comparison(comparison, map(differences, comparison.pairs), labels, noise)
    for contrast in arm_contrasts(arms):  # the column of the loss names both arms
        names = f"{contrast.first.label or TRAINED_TEACHERS} to {contrast.second.label or TRAINED_TEACHERS}"
        labels = {"outcome": outcome, "distillation_loss": names, "attention_maps": contrast.first.maps}
        for comparison in contrast.comparisons:
            yield from _of_comparison(comparison, map(differences, comparison.pairs), labels, noise)


def _of_comparison(
    comparison: Comparison, by_pair: Iterable[Mapping[int, float]], labels: Mapping[str, Any], noise: float
) -> Iterator[_Effect]:
    """Yield the mean over seeds of the differences, unless no seed has any pair.

    Pairs of one seed are averaged first: they share teachers and images, so they are one observation, and the bootstrap
    resamples seeds. A seed counts only with every pair that some seed has: where trials are missing, a mean over what
    is left would be of other settings in some seeds than in others.
    """
    known = [differences for differences in by_pair if differences]
    if not known:
        return
    seeds = set().union(*known)
    complete = sorted(set(known[0]).intersection(*known[1:]))
    differences_SP = np.array([[differences[seed] for differences in known] for seed in complete])
    row = {
        **labels,
        "kind": comparison.kind,
        "varied": comparison.varied,
        "from_level": comparison.from_level,
        "to_level": comparison.to_level,
        **({} if comparison.is_pooled else _held_by_both(*comparison.pairs[0], comparison.varied)),
        "is_pooled": comparison.is_pooled,
        "num_pairs": len(complete) * len(known),
        "num_seeds": 0,
    }
    yield _Effect(row, differences_SP.mean(axis=1) if complete else None, noise, len(seeds) - len(complete))


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


def seeds_note(estimate: Estimate, bootstrap: Bootstrap) -> str | None:
    """Return why there is no interval, or that the bootstrap's is too short; None if it is sound."""
    num_seeds = estimate.num_clusters
    if num_seeds >= MIN_CLUSTERS and estimate.interval is None:
        return "no interval: all seeds agree in every digit"
    coverage = bootstrap.coverage_limit(num_seeds) if num_seeds >= MIN_CLUSTERS else None
    if coverage is not None:
        return f"the bootstrap of {num_seeds} seeds covers at most {coverage:.0%}"
    return too_few_seeds(num_seeds)


def too_few_seeds(num_seeds: int) -> str | None:
    """Return that there are too few seeds for an interval; None if there are enough."""
    if num_seeds >= MIN_CLUSTERS:
        return None
    return f"no interval: {num_seeds} seed{'s' if num_seeds > 1 else ''}, at least {MIN_CLUSTERS} are needed"


def other_fields_text(setting: Setting) -> str:
    """Return the further searched fields of a setting, `distillation_temperature=4.0`; empty where there are none."""
    return ", ".join(f"{name}={value}" for name, value in setting.others)


def _mean_row(setting: Setting, num_trials: int) -> dict[str, Any]:
    return {
        "kind": MEAN,
        **_held(setting),
        "teacher_strengths": json.dumps(setting.mix) if setting.mix else None,
        "other_fields": other_fields_text(setting),
        "is_pooled": False,
        "num_pairs": num_trials,
    }


def _estimated(effect: _Effect, estimate: Estimate | None, bootstrap: Bootstrap) -> dict[str, Any]:
    parts = [seeds_note(estimate, bootstrap) if estimate else "no seed has every pair"]
    if effect.num_incomplete:
        parts.append(f"{counted(effect.num_incomplete, 'seed')} left out, which lack pairs")
    columns = {} if estimate is None else {"estimate": estimate.value, **interval_columns(estimate)}
    return effect.row | columns | {"note": "; ".join(part for part in parts if part) or None}


def _held(setting: Setting) -> dict[str, Any]:
    return {name: getattr(setting, name) for name in (STRENGTH, STUDENT, SIZE)}


def _held_by_both(low: Setting, high: Setting, varied: str) -> dict[str, Any]:
    """Return what two settings share, and both lists of teachers' strengths where these differ."""
    mixes = dict.fromkeys(json.dumps(setting.teachers) for setting in (low, high) if low.mix or high.mix)
    return {
        **_held(low),
        **dict.fromkeys((STRENGTH, STUDENT) if varied == BOTH else (varied,)),
        "teacher_strengths": " to ".join(mixes) or None,
        "other_fields": other_fields_text(low),
    }

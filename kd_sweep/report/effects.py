"""Means per setting, and what changes between two settings of the same seed, as a table."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from kd_sweep.report.comparisons import Comparison, Pair, comparisons, paired_differences
from kd_sweep.report.intervals import MIN_CLUSTERS, Bootstrap, Estimate
from kd_sweep.report.sample import Sample
from kd_sweep.report.settings import SIZE, STRENGTH, STUDENT, Setting

MEAN = "mean"

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


def effects_table(sample: Sample, outcomes: Iterable[str], bootstrap: Bootstrap) -> pa.Table:
    """Return the mean of each setting and the effect of each comparison, for each outcome and arm, as `EFFECTS`."""
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        for arm, settings in sample.arms(outcome).items():
            found = [_mean_row(sample, outcome, setting, bootstrap) for setting in settings]
            for comparison in comparisons(settings, sample.dimensions):
                found += _effect_rows(sample, outcome, comparison, bootstrap)
            labels = {"outcome": outcome, "distillation_loss": arm.loss, "attention_maps": arm.maps}
            rows += [{"study": sample.study, **labels, **row} for row in found]
    return pa.Table.from_pylist(rows, schema=EFFECTS)


def paired_effect(
    sample: Sample, outcome: str, pairs: Iterable[Pair], bootstrap: Bootstrap
) -> tuple[Estimate, int] | None:
    """Return the mean over seeds of the difference and the number of pairs, None where no seed has both levels.

    A seed that lacks one of the two arms gives no pair. Pairs of one seed are averaged first: they share teachers
    and images, so they are one observation, and the bootstrap resamples seeds.
    """
    differences = paired_differences(sample.trials, outcome, pairs)
    if not differences:
        return None
    estimate = bootstrap.estimate(np.array([np.mean(values) for values in differences.values()]))
    return estimate, sum(map(len, differences.values()))


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
    coverage = bootstrap.coverage_limit(num_seeds) if num_seeds >= MIN_CLUSTERS else None
    if coverage is not None:
        return f"the bootstrap of {num_seeds} seeds covers at most {coverage:.0%}"
    return too_few_seeds(num_seeds)


def too_few_seeds(num_seeds: int) -> str | None:
    """Return that there are too few seeds for an interval; None where there are enough."""
    if num_seeds >= MIN_CLUSTERS:
        return None
    return f"no interval: {num_seeds} seed{'s' if num_seeds > 1 else ''}, at least {MIN_CLUSTERS} are needed"


def shown_fields(setting: Setting) -> str:
    """Return the further searched fields of a setting, `distillation_temperature=4.0`; empty where there are none."""
    return ", ".join(f"{name}={value}" for name, value in setting.others)


def _mean_row(sample: Sample, outcome: str, setting: Setting, bootstrap: Bootstrap) -> dict[str, Any]:
    values = [trial[outcome] for trial in sample.trials[setting].values() if outcome in trial]
    estimate = bootstrap.estimate(np.array(values))
    return {
        "kind": MEAN,
        **_held(setting),
        "teacher_strengths": json.dumps(setting.mix) if setting.mix else None,
        "other_fields": shown_fields(setting),
        "is_pooled": False,
        "estimate": estimate.value,
        **interval_columns(estimate),
        "num_pairs": len(values),
        "note": seeds_note(len(values), bootstrap),
    }


def _effect_rows(
    sample: Sample, outcome: str, comparison: Comparison, bootstrap: Bootstrap
) -> Iterator[dict[str, Any]]:
    effect = paired_effect(sample, outcome, comparison.pairs, bootstrap)
    if effect is None:
        return
    estimate, num_pairs = effect
    yield {
        "kind": comparison.kind,
        "varied": comparison.varied,
        "from_level": comparison.from_level,
        "to_level": comparison.to_level,
        **({} if comparison.is_pooled else _held_by_both(*comparison.pairs[0], comparison.varied)),
        "is_pooled": comparison.is_pooled,
        "estimate": estimate.value,
        **interval_columns(estimate),
        "num_pairs": num_pairs,
        "note": seeds_note(estimate.num_clusters, bootstrap),
    }


def _held(setting: Setting) -> dict[str, Any]:
    return {name: getattr(setting, name) for name in (STRENGTH, STUDENT, SIZE)}


def _held_by_both(low: Setting, high: Setting, varied: str) -> dict[str, Any]:
    """Return what two settings share, and both lists of teachers' strengths where these differ."""
    mixes = dict.fromkeys(json.dumps(setting.teachers) for setting in (low, high) if low.mix or high.mix)
    return {
        **_held(low),
        varied: None,
        "teacher_strengths": " to ".join(mixes) or None,
        "other_fields": shown_fields(low),
    }

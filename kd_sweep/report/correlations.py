"""Spearman's rank correlations between what was varied and what came out, and between outcomes."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from kd_sweep.report.effects import DIMENSIONS, seeds_note
from kd_sweep.report.intervals import MIN_CLUSTERS, Bootstrap, Floats, weighted_spearman
from kd_sweep.report.sample import Sample, Setting

ATTENTION = "attention_iou_teachers"

CORRELATIONS = pa.schema(
    [
        ("study", pa.string()),
        ("x", pa.string()),
        ("y", pa.string()),
        ("augmentation_strength", pa.float64()),
        ("ensemble_size", pa.int32()),
        ("rho", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("num_trials", pa.int32()),
        ("num_seeds", pa.int32()),
        ("note", pa.string()),
    ]
)
"""`rho` over all trials that have both; `augmentation_strength` or `ensemble_size` names the level that a row is
restricted to, null for all. `low`, `high`: bootstrap interval, seeds resampled whole."""

MIN_TRIALS = 3
_MAX_LEVELS = 20

Observation = tuple[float, float, int]


def correlations_table(sample: Sample, outcomes: Iterable[str], bootstrap: Bootstrap) -> pa.Table:
    """Return the correlation of each outcome with strength and size, and of the teachers' attention with others."""
    rows = []
    for x, y in _questions(sample, list(outcomes)):
        for restriction in _restrictions(sample, x):
            row = _row(sample, x, y, restriction, bootstrap)
            if row is not None:
                rows.append({"study": sample.study, "x": x, "y": y, **restriction, **row})
    return pa.Table.from_pylist(rows, schema=CORRELATIONS)


def within_seeds(sample: Sample, outcome: str) -> dict[int, tuple[float, int]]:
    """Return seed -> (Spearman's correlation of the outcome with strength within it, number of its trials).

    Seeds in which either does not vary, or with fewer than three trials, have none.
    """
    by_seed: dict[int, list[Observation]] = {}
    for observation in _observations(sample, "augmentation_strength", outcome, {}):
        by_seed.setdefault(observation[2], []).append(observation)
    found = {}
    for seed, observations in sorted(by_seed.items()):
        if len(observations) < MIN_TRIALS:
            continue
        x_N, y_N = _columns(observations)
        rho = float(weighted_spearman(x_N, y_N, np.ones((1, len(x_N))))[0])
        if not np.isnan(rho):
            found[seed] = (rho, len(observations))
    return found


def _questions(sample: Sample, outcomes: list[str]) -> Iterator[tuple[str, str]]:
    for outcome in outcomes:
        for dimension in DIMENSIONS:
            if len(sample.levels(dimension)) > 1:
                yield dimension, outcome
    if ATTENTION in sample.outcomes:
        for outcome in outcomes:
            if outcome.startswith("fidelity_") or outcome in ("generalization_gap", "val_accuracy"):
                yield ATTENTION, outcome


def _restrictions(sample: Sample, x: str) -> list[dict[str, Any]]:
    """Return all trials together, then each level of the other dimension, where these are few enough to be levels."""
    held = DIMENSIONS[0] if x == DIMENSIONS[1] else DIMENSIONS[1]
    levels = sample.levels(held)
    return [{}, *({held: level} for level in levels)] if 1 < len(levels) <= _MAX_LEVELS else [{}]


def _row(sample: Sample, x: str, y: str, restriction: dict[str, Any], bootstrap: Bootstrap) -> dict[str, Any] | None:
    observations = list(_observations(sample, x, y, restriction))
    if len(observations) < MIN_TRIALS:
        return None
    x_N, y_N = _columns(observations)
    seeds, clusters_N = np.unique([seed for _, _, seed in observations], return_inverse=True)
    rho, interval = bootstrap.spearman(x_N, y_N, clusters_N)
    note: str | None
    if rho is None:
        note = f"{x if np.all(x_N == x_N[0]) else y} is constant"
    else:
        note = seeds_note(len(seeds), bootstrap)
        if interval is None and len(seeds) >= MIN_CLUSTERS:
            note = "no interval: constant in many resamples"
    return {
        "rho": rho,
        "low": interval and interval.low,
        "high": interval and interval.high,
        "num_trials": len(observations),
        "num_seeds": len(seeds),
        "note": note,
    }


def _observations(sample: Sample, x: str, y: str, restriction: dict[str, Any]) -> Iterator[Observation]:
    for setting, seeds in sample.trials.items():
        if any(getattr(setting, name) != level for name, level in restriction.items()):
            continue
        for seed, outcomes in seeds.items():
            known = outcomes.get(x) if x not in DIMENSIONS else _level(setting, x)
            if known is not None and y in outcomes:
                yield known, outcomes[y], seed


def _level(setting: Setting, dimension: str) -> float:
    return float(getattr(setting, dimension))


def _columns(observations: list[Observation]) -> tuple[Floats, Floats]:
    return np.array([x for x, _, _ in observations]), np.array([y for _, y, _ in observations])

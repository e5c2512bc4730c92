"""Interactions: whether an effect of strength depends on the ensemble's size, or on the other strength, as a table.

Shape suffixes: S seeds, K levels of the strength, M levels of what its effect may depend on.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from kd_sweep.analysis.comparisons import stratum
from kd_sweep.analysis.effects import interval_columns, seeds_note
from kd_sweep.analysis.profiles import well_covered
from kd_sweep.analysis.sample import Sample
from kd_sweep.analysis.trial_settings import Setting
from kd_sweep.analysis.wording import counted
from kd_sweep.statistics.intervals import Bootstrap, Floats
from kd_sweep.statistics.shapes import least_std, line_ends, trend

INTERACTIONS = pa.schema(
    [
        ("study", pa.string()),
        ("outcome", pa.string()),
        ("distillation_loss", pa.string()),
        ("attention_maps", pa.string()),
        ("varied", pa.string()),
        ("from_level", pa.float64()),
        ("to_level", pa.float64()),
        ("modifier", pa.string()),
        ("from_modifier", pa.float64()),
        ("to_modifier", pa.float64()),
        ("effect_at_from", pa.float64()),
        ("effect_at_to", pa.float64()),
        ("estimate", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("t_low", pa.float64()),
        ("t_high", pa.float64()),
        ("std", pa.float64()),
        ("num_settings", pa.int32()),
        ("num_seeds", pa.int32()),
        ("note", pa.string()),
    ]
)
"""The columns are described in docs/statistics.md."""

Lattice = list[list[list[Setting]]]
"""Settings by level of the strength, then of the modifier; those of one cell differ in other fields alone."""


def interactions_table(sample: Sample, outcomes: Iterable[str], bootstrap: Bootstrap) -> pa.Table:
    """Return how much the effect of each strength changes along each other dimension, as `INTERACTIONS`.

    The effect is the change from lowest to highest strength along the straight line of least squares, the trend of the
    verdicts; its change is along such a line through the levels of the other dimension.
    """
    rows = []
    for outcome in outcomes:
        for arm, settings in sample.arms(outcome).items():
            labels = {"outcome": outcome, "distillation_loss": arm.label, "attention_maps": arm.maps}
            for varied, modifier in itertools.combinations(sample.dimensions_of(settings), 2):
                for row in _rows(sample, outcome, settings, varied, modifier, bootstrap):
                    rows.append({"study": sample.study, **labels, "varied": varied, "modifier": modifier, **row})
    return pa.Table.from_pylist(rows, schema=INTERACTIONS)


def _rows(
    sample: Sample, outcome: str, settings: Sequence[Setting], varied: str, modifier: str, bootstrap: Bootstrap
) -> Iterator[dict[str, Any]]:
    """Yield the row of two dimensions, if there are settings with all levels of both."""
    levels, modifiers = (_levels(sample, outcome, settings, name) for name in (varied, modifier))
    lattice = _lattice(settings, varied, modifier, levels, modifiers)
    if min(len(levels), len(modifiers)) < 2 or not lattice[0][0]:
        return
    levels_K, levels_M = np.array(levels), np.array(modifiers, dtype=float)
    values_SKM, num_incomplete = _values(sample, outcome, lattice)
    row: dict[str, Any] = {
        "from_level": levels_K[0],
        "to_level": levels_K[-1],
        "from_modifier": levels_M[0],
        "to_modifier": levels_M[-1],
        "num_settings": len(lattice[0][0]) * len(levels_K) * len(levels_M),
        "num_seeds": len(values_SKM),
        "note": "no seed has all of the settings",
    }
    if len(values_SKM):
        left_out = f"{counted(num_incomplete, 'seed')} left out, which lack trials" if num_incomplete else None
        row |= _estimated(values_SKM, levels_K, levels_M, bootstrap, sample.steps.get(outcome, 0.0), left_out)
    yield row


def _estimated(
    values_SKM: Floats, levels_K: Floats, levels_M: Floats, bootstrap: Bootstrap, step: float, left_out: str | None
) -> dict[str, Any]:
    along_K, along_M = trend(levels_K), trend(levels_M)
    estimate = bootstrap.estimate(values_SKM @ along_M @ along_K, least_std(np.outer(along_K, along_M).ravel(), step))
    effect_M = values_SKM.mean(0).T @ along_K
    first, last = (float(effect_M @ end_M) for end_M in line_ends(levels_M))
    return {
        "effect_at_from": first,
        "effect_at_to": last,
        "estimate": estimate.value,
        **interval_columns(estimate),
        "note": "; ".join(filter(None, [seeds_note(estimate, bootstrap), left_out])) or None,
    }


def _levels(sample: Sample, outcome: str, settings: Sequence[Setting], name: str) -> list[float]:
    counts: dict[float, int] = {}
    for setting in settings:
        level = getattr(setting, name)
        counts[level] = counts.get(level, 0) + len(sample.trials.of(outcome)[setting])
    return well_covered(counts)


def _lattice(
    settings: Sequence[Setting], varied: str, modifier: str, levels: Sequence[float], modifiers: Sequence[float]
) -> Lattice:
    """Return the settings of which all combinations of the levels of both dimensions were run, with equal others.

    Where teachers of one ensemble differ in strength there is no one level of theirs, and settings are left out.
    """
    groups: dict[Setting, dict[tuple[float, float], Setting]] = {}
    for setting in settings:
        at = (getattr(setting, varied), getattr(setting, modifier))
        if not setting.mix and at[0] in levels and at[1] in modifiers:
            groups.setdefault(stratum(stratum(setting, varied), modifier), {})[at] = setting
    whole = [cells for cells in groups.values() if len(cells) == len(levels) * len(modifiers)]
    return [[[cells[level, other] for cells in whole] for other in modifiers] for level in levels]


def _values(sample: Sample, outcome: str, lattice: Lattice) -> tuple[Floats, int]:
    """Return the means over the settings of each cell, SKM, of the seeds that have all of them, and how many have not.

    As in pooled effects a seed counts whole or not at all: what is missing is not missing by chance.
    """
    wanted = [setting for row in lattice for cell in row for setting in cell]
    known = [sample.trials.of(outcome)[setting] for setting in wanted]
    complete = sorted(set(known[0]).intersection(*known[1:]))
    values = [[values[seed] for values in known] for seed in complete]
    values_SKM = np.array(values).reshape(len(complete), len(lattice), len(lattice[0]), len(lattice[0][0])).mean(3)
    return values_SKM, len(set().union(*known)) - len(complete)

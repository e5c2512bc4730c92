"""Verdicts as a table, each with a sentence."""

import math
from typing import Any

import pyarrow as pa

from kd_sweep.report.claims import LOSSES, RANKS, Verdict, verdicts
from kd_sweep.report.effects import interval_columns
from kd_sweep.report.intervals import MAX_SEEDS, MIN_CLUSTERS, Bootstrap, Interval
from kd_sweep.report.sample import Sample

VERDICTS = pa.schema(
    [
        ("study", pa.string()),
        ("claim", pa.string()),
        ("outcome", pa.string()),
        ("verdict", pa.string()),
        ("basis", pa.string()),
        ("from_level", pa.float64()),
        ("to_level", pa.float64()),
        ("effect", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("t_low", pa.float64()),
        ("t_high", pa.float64()),
        ("std", pa.float64()),
        ("num_pairs", pa.int32()),
        ("num_seeds", pa.int32()),
        ("margin", pa.float64()),
        ("seeds_to_decide", pa.int32()),
        ("sentence", pa.string()),
    ]
)
"""`verdict`: supported, refuted, undecided or not tested. `effect`: mean over seeds of the change of the outcome (or
of the correlation, see `basis`). `margin`: a rise of fidelity below it counts as hardly any. `seeds_to_decide`: how
many seeds in all would make half the t interval shorter than the effect's distance from zero (or from the margin), if
effect and spread stay as observed; null for more than 1000, and where one seed shows no spread."""


def verdicts_table(sample: Sample, bootstrap: Bootstrap, margin: float) -> pa.Table:
    """Return the verdicts of `claims.verdicts`, as `VERDICTS`."""
    rows = [_row(sample, verdict) for verdict in verdicts(sample, bootstrap, margin)]
    return pa.Table.from_pylist(rows, schema=VERDICTS)


def sentence(verdict: Verdict) -> str:
    """Return the verdict with its evidence in plain words."""
    start = f"{verdict.answer.capitalize()}: {verdict.claim}"
    start += f" ({verdict.outcome})" if verdict.outcome else ""
    if verdict.estimate is None:
        return f"{start}: {verdict.reason}."
    start += "."
    return " ".join([start, _evidence(verdict), *_doubt(verdict)])


def _evidence(verdict: Verdict) -> str:
    estimate = verdict.estimate
    assert estimate is not None
    shown, seeds = number(estimate.value), counted(estimate.num_clusters, "seed")
    # Student's t first: the bootstrap's is the shorter one with few seeds, and would look like the whole doubt.
    intervals = ""
    if estimate.t_interval is not None and estimate.interval is not None:
        intervals = f"; t interval {_between(estimate.t_interval)}, bootstrap {_between(estimate.interval)}"
    if verdict.basis == RANKS:
        trials = counted(verdict.num_pairs or 0, "trial")
        return f"Its rank correlation with strength within a seed is {shown} (mean of {seeds}, {trials}{intervals})."
    count = f"(mean of {seeds}, {counted(verdict.num_pairs or 0, 'pair')}{intervals})"
    if verdict.basis == LOSSES:
        return (
            f"mse_logits with alpha 0 instead of kl changes it by {shown} {count}; under {verdict.margin:g} is hardly."
        )
    return f"From strength {verdict.from_level:g} to {verdict.to_level:g} it changes by {shown} {count}."


def _between(interval: Interval) -> str:
    return f"[{number(interval.low)}, {number(interval.high)}]"


def _doubt(verdict: Verdict) -> list[str]:
    """Return why an undecided verdict is so, and how many seeds would decide it."""
    estimate, needed = verdict.estimate, verdict.seeds_to_decide
    if verdict.answer != "undecided" or estimate is None:
        return []
    reasons = [] if estimate.t_interval is not None else [f"An interval needs at least {MIN_CLUSTERS} seeds."]
    if needed is None or math.isnan(needed):
        reasons.append("One seed shows no spread, so how many would decide it is unknown.")
    else:
        many = f"more than {MAX_SEEDS}" if math.isinf(needed) else f"about {needed:.0f}"
        reasons.append(f"If effect and spread stay as they are, {many} seeds in all would decide it.")
    return reasons


def number(value: float) -> str:
    """Return a change with its sign, to four decimals or, where it is smaller, three digits."""
    return f"{value:+.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:+.2e}"


def counted(count: int, noun: str) -> str:
    """Return a number of things, `1 seed` or `3 seeds`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _row(sample: Sample, verdict: Verdict) -> dict[str, Any]:
    needed = verdict.seeds_to_decide
    return {
        "study": sample.study,
        "claim": verdict.claim,
        "outcome": verdict.outcome,
        "verdict": verdict.answer,
        "basis": verdict.basis,
        "from_level": verdict.from_level,
        "to_level": verdict.to_level,
        "effect": verdict.estimate and verdict.estimate.value,
        **(interval_columns(verdict.estimate) if verdict.estimate else {}),
        "num_pairs": verdict.num_pairs,
        "margin": verdict.margin,
        "seeds_to_decide": int(needed) if needed is not None and math.isfinite(needed) else None,
        "sentence": sentence(verdict),
    }

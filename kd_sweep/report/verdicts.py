"""Verdicts as a table, each with a sentence."""

import math
from typing import Any

import pyarrow as pa

from kd_sweep.report.claims import Verdict, verdicts
from kd_sweep.report.effects import interval_columns
from kd_sweep.report.intervals import Bootstrap
from kd_sweep.report.sample import Sample
from kd_sweep.report.sentences import sentence

VERDICTS = pa.schema(
    [
        ("study", pa.string()),
        ("claim", pa.string()),
        ("outcome", pa.string()),
        ("verdict", pa.string()),
        ("basis", pa.string()),
        ("varied", pa.string()),
        ("distillation_loss", pa.string()),
        ("attention_maps", pa.string()),
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
        ("chance_share", pa.float64()),
        ("seeds_to_decide", pa.int32()),
        ("sentence", pa.string()),
    ]
)
"""The columns are described in docs/statistics.md."""


def verdicts_table(sample: Sample, bootstrap: Bootstrap, margin: float) -> pa.Table:
    """Return the verdicts of `claims.verdicts`, as `VERDICTS`."""
    rows = [_row(sample, verdict) for verdict in verdicts(sample, bootstrap, margin)]
    return pa.Table.from_pylist(rows, schema=VERDICTS)


def _row(sample: Sample, verdict: Verdict) -> dict[str, Any]:
    needed = verdict.seeds_to_decide
    return {
        "study": sample.study,
        "claim": verdict.claim,
        "outcome": verdict.outcome,
        "verdict": verdict.answer,
        "basis": verdict.basis,
        "varied": verdict.varied,
        "distillation_loss": verdict.arm.loss,
        "attention_maps": verdict.arm.maps,
        "from_level": verdict.from_level,
        "to_level": verdict.to_level,
        "effect": verdict.estimate and verdict.estimate.value,
        **(interval_columns(verdict.estimate) if verdict.estimate else {}),
        "num_pairs": verdict.num_pairs,
        "margin": verdict.margin,
        "chance_share": verdict.chance_share,
        "seeds_to_decide": int(needed) if needed is not None and math.isfinite(needed) else None,
        "sentence": sentence(verdict, sample),
    }

"""Verdicts as a table, each with a sentence, and each strength against the lowest as another."""

import math
from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from kd_sweep.analysis.claims.evidence import Along
from kd_sweep.analysis.claims.p_values import PValue
from kd_sweep.analysis.claims.sentences import sentence
from kd_sweep.analysis.claims.verdict_record import Verdict
from kd_sweep.analysis.effects import interval_columns
from kd_sweep.analysis.sample import Sample

BASES = {
    "profiles": "paired by seed, all strengths",
    "ranks": "rank correlation with strength within each seed",
    "losses": "paired by seed, kl and mse_logits with alpha 0",
    "association": "slope within settings and seeds",
    "carried": "effect of strength on the mediator times the slope",
}

VERDICTS = pa.schema(
    [
        ("study", pa.string()),
        ("claim", pa.string()),
        ("outcome", pa.string()),
        ("verdict", pa.string()),
        ("verdict_if_normal", pa.string()),
        ("basis", pa.string()),
        ("varied", pa.string()),
        ("mediator", pa.string()),
        ("distillation_loss", pa.string()),
        ("attention_maps", pa.string()),
        ("from_level", pa.float64()),
        ("to_level", pa.float64()),
        ("num_levels", pa.int32()),
        ("effect", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("t_low", pa.float64()),
        ("t_high", pa.float64()),
        ("std", pa.float64()),
        ("trend", pa.float64()),
        ("p", pa.float64()),
        ("p_corrected", pa.float64()),
        ("p_if_normal", pa.float64()),
        ("p_if_normal_corrected", pa.float64()),
        ("p_exact", pa.float64()),
        ("is_exact", pa.bool_()),
        ("curvature", pa.float64()),
        ("curvature_p", pa.float64()),
        ("curvature_p_corrected", pa.float64()),
        ("best_level", pa.float64()),
        ("best_low", pa.float64()),
        ("best_high", pa.float64()),
        ("num_pairs", pa.int32()),
        ("num_seeds", pa.int32()),
        ("num_tests", pa.int32()),
        ("missing", pa.string()),
        ("resolution", pa.float64()),
        ("margin", pa.float64()),
        ("equivalence", pa.string()),
        ("p_equivalence", pa.float64()),
        ("p_equivalence_corrected", pa.float64()),
        ("chance_share", pa.float64()),
        ("seeds_to_decide", pa.int32()),
        ("detectable", pa.float64()),
        ("reason", pa.string()),
        ("summary", pa.string()),
        ("sentence", pa.string()),
    ]
)
"""The columns are described in docs/statistics.md."""

LEVELS = pa.schema(
    [
        ("study", pa.string()),
        ("claim", pa.string()),
        ("outcome", pa.string()),
        ("varied", pa.string()),
        ("distillation_loss", pa.string()),
        ("attention_maps", pa.string()),
        ("from_level", pa.float64()),
        ("to_level", pa.float64()),
        ("estimate", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("p_corrected", pa.float64()),
        ("mean", pa.float64()),
        ("num_seeds", pa.int32()),
    ]
)
"""The columns are described in docs/statistics.md."""


def verdicts_table(sample: Sample, verdicts: Iterable[Verdict]) -> pa.Table:
    """Return the verdicts, as `VERDICTS`."""
    return pa.Table.from_pylist([_row(sample, verdict) for verdict in verdicts], schema=VERDICTS)


def levels_table(sample: Sample, verdicts: Iterable[Verdict]) -> pa.Table:
    """Return each strength against the lowest, for each verdict over three strengths or more, as `LEVELS`."""
    rows = []
    for verdict in verdicts:
        if verdict.evidence is not None and verdict.evidence.along is not None:
            rows += [_labels(sample, verdict) | row for row in _level_rows(verdict.evidence.along)]
    return pa.Table.from_pylist(rows, schema=LEVELS)


def _labels(sample: Sample, verdict: Verdict) -> dict[str, Any]:
    question = verdict.question
    return {
        "study": sample.study,
        "claim": question.claim.name,
        "outcome": question.outcome,
        "varied": question.varied,
        "distillation_loss": question.arm.label,
        "attention_maps": question.arm.maps,
    }


def _row(sample: Sample, verdict: Verdict) -> dict[str, Any]:
    needed, evidence = verdict.seeds_to_decide, verdict.evidence
    return {
        **_labels(sample, verdict),
        "mediator": verdict.question.mediator,
        "verdict": verdict.answer,
        "verdict_if_normal": verdict.answer_if_normal,
        **_evidence_columns(verdict),
        **_p_columns("p", verdict.p.trend),
        **_p_columns("p_if_normal", verdict.p_if_normal.trend),
        **_p_columns("curvature_p", verdict.p.curvature),
        "is_exact": verdict.is_exact if verdict.p.trend and evidence and evidence.tested_SK is not None else None,
        "num_tests": verdict.num_tests or None,
        "margin": verdict.margin,
        "equivalence": verdict.equivalence,
        **_p_columns("p_equivalence", verdict.p_equivalence),
        "detectable": verdict.detectable,
        "seeds_to_decide": int(needed) if needed is not None and math.isfinite(needed) else None,
        "reason": verdict.reason,
        "summary": sentence(verdict, sample, brief=True),
        "sentence": sentence(verdict, sample),
    }


def _evidence_columns(verdict: Verdict) -> dict[str, Any]:
    evidence = verdict.evidence
    if evidence is None:
        return {}
    return {
        "basis": BASES[evidence.basis],
        "from_level": evidence.from_level,
        "to_level": evidence.to_level,
        "num_levels": evidence.num_levels if evidence.basis == "profiles" else None,
        "effect": evidence.effect.value,
        **interval_columns(evidence.effect),
        "trend": evidence.trend.estimate.value,
        "p_exact": evidence.exact if verdict.p.trend else None,
        **(_along_columns(evidence.along) if evidence.along else {}),
        "num_pairs": evidence.num_pairs,
        "missing": "; ".join(evidence.missing) or None,
        "resolution": evidence.step or None,
        "chance_share": evidence.chance_share,
    }


def _p_columns(name: str, p: PValue | None) -> dict[str, float | None]:
    return {} if p is None else {name: p.raw, f"{name}_corrected": p.corrected}


def _along_columns(along: Along) -> dict[str, Any]:
    return {
        "curvature": along.curvature.estimate.value,
        "best_level": along.best_level,
        "best_low": along.best_range and along.best_range.low,
        "best_high": along.best_range and along.best_range.high,
    }


def _level_rows(along: Along) -> list[dict[str, Any]]:
    means = dict(along.means)
    return [
        {
            "from_level": along.means[0][0],
            "to_level": level.level,
            "estimate": level.estimate.value,
            "low": level.interval and level.interval.low,
            "high": level.interval and level.interval.high,
            "p_corrected": level.p,
            "mean": means[level.level],
            "num_seeds": level.estimate.num_clusters,
        }
        for level in along.against_lowest
    ]

"""A verdict as a record: its answer, the evidence and tests that it rests on, and what more would be needed."""

from dataclasses import dataclass
from typing import Literal

from kd_sweep.analysis.claims.evidence import Evidence
from kd_sweep.analysis.claims.p_values import PValue
from kd_sweep.analysis.claims.paper_claims import Question
from kd_sweep.statistics.spending import Looks

Answer = Literal["supported", "refuted", "mixed", "undecided", "not tested"]
Equivalence = Literal["equivalent", "not equivalent", "undecided"]


@dataclass(frozen=True)
class Tests:
    """The tests that a verdict rests on; None where there is none, as of the curvature of two levels."""

    trend: PValue | None = None
    curvature: PValue | None = None
    below: PValue | None = None
    """Of the effect against the margin below zero."""


@dataclass(frozen=True)
class Verdict:
    """The verdict on one claim by one outcome."""

    question: Question
    answer: Answer
    answer_if_normal: Answer
    """What it would be if differences between seeds were known to be normal."""
    reason: str | None = None
    """Why it was not tested, or cannot be decided."""
    doubt: str | None = None
    """Why it is undecided, where its p values do not say so."""
    evidence: Evidence | None = None
    margin: float | None = None
    """How large a change is still hardly any, where the claim is that there is hardly any."""
    equivalence: Equivalence | None = None
    """Whether the effect is within the margin on both sides; None where the claim has none."""
    p_equivalence: PValue | None = None
    """Of the tests against the two sides of the margin that `equivalence` rests on, the larger."""
    p: Tests = Tests()
    """Of `skewed_p` and, where it can be small enough, `exact_p`: the larger."""
    p_if_normal: Tests = Tests()
    """Of `normal_p`."""
    is_exact: bool = False
    """Whether `exact_p` counts: with so many seeds and levels it can be small enough."""
    num_tests: int = 0
    """How many tests of the study the p values are corrected for."""
    looks: Looks | None = None
    """When a study with adaptive seeds is looked at: p values are corrected for that."""
    seeds_to_decide: float | None = None
    """Infinity for more than 1000, NaN where it is unknown."""
    detectable: float | None = None
    """The least effect, or distance from the margin, that would be seen in four studies of five with these seeds."""

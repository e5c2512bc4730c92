"""Verdicts on the claims of the paper, corrected for the number of tests of a study."""

from dataclasses import dataclass, replace
from typing import Literal

from kd_sweep.analysis.claims.evidence import Evidence, evidence_on
from kd_sweep.analysis.claims.paper_claims import MATCHING, Question, is_selected_by, matching_questions, questions
from kd_sweep.analysis.sample import Sample
from kd_sweep.statistics.intervals import MIN_CLUSTERS, Bootstrap
from kd_sweep.statistics.permutations import smallest_p
from kd_sweep.statistics.shapes import Contrast
from kd_sweep.statistics.significance import holm, normal_p, seeds_to_decide, skewed_p

Answer = Literal["supported", "refuted", "mixed", "undecided", "not tested"]


@dataclass(frozen=True)
class PValues:
    """Of one test, raw and corrected for all tests of the study (Holm)."""

    raw: float
    corrected: float


@dataclass(frozen=True)
class Tests:
    """The two tests that a verdict rests on; None where there is none, as of the curvature of two levels."""

    trend: PValues | None = None
    curvature: PValues | None = None


@dataclass(frozen=True)
class Verdict:
    """The verdict on one claim by one outcome."""

    question: Question
    answer: Answer
    answer_if_normal: Answer
    """What it would be if differences between seeds were known to be normal."""
    reason: str | None = None
    """Why it was not tested, or cannot be decided."""
    evidence: Evidence | None = None
    margin: float | None = None
    p: Tests = Tests()
    """Of `skewed_p` and, where it can be small enough, `exact_p`: the larger."""
    p_if_normal: Tests = Tests()
    """Of `normal_p`."""
    is_exact: bool = False
    """Whether `exact_p` counts: with so many seeds and levels it can be small enough."""
    num_tests: int = 0
    """How many tests of the study the p values are corrected for."""
    seeds_to_decide: float | None = None
    """Infinity for more than 1000, NaN where it is unknown."""


def verdicts(sample: Sample, bootstrap: Bootstrap, margin: float) -> list[Verdict]:
    """Return the verdicts on the paper's claims, one per outcome, strength and arm, then those on logits matching.

    Every question has a test of the trend over all levels and, with three levels or more, one of the curvature. All of
    a study's tests are one family: at a confidence of 95 %, a study in which nothing has an effect has a verdict on
    anything in at most 5 % of cases.

    Args:
        sample: the study's trials.
        bootstrap: how intervals are taken, and the confidence of verdicts.
        margin: by how much logits matching may raise fidelity and still hardly raise it.
    """
    all_questions = [*questions(sample), *matching_questions(sample)]
    unjudged = [_unjudged(sample, question, bootstrap, margin) for question in all_questions]
    judged = _judged(unjudged, bootstrap.confidence)
    tests = [p for verdict in judged for p in (verdict.p.trend, verdict.p.curvature) if p is not None]
    open_ones = sum(p.corrected > 1.0 - bootstrap.confidence for p in tests)
    level = (1.0 - bootstrap.confidence) / max(1, open_ones)
    return [_with_seeds(verdict, level) for verdict in judged]


def _unjudged(sample: Sample, question: Question, bootstrap: Bootstrap, margin: float) -> Verdict:
    is_matching = question.claim is MATCHING
    verdict = Verdict(question, "undecided", "undecided", margin=margin if is_matching else None)
    if question.reason is not None:
        return replace(verdict, answer="not tested", answer_if_normal="not tested", reason=question.reason)
    assert question.outcome is not None
    result = evidence_on(sample, question, bootstrap, margin)
    evidence, reason = (None, result) if isinstance(result, str) else (result, None)
    if is_selected_by(sample, question.outcome):
        reason = f"{sample.selected_by_outcome}, so the completed trials are not a fair sample of its outcomes"
    return replace(verdict, evidence=evidence, reason=reason)


def _judged(unjudged: list[Verdict], confidence: float) -> list[Verdict]:
    """Return the verdicts with p values that are corrected for all tests of the study, and with their answers."""
    tests = [(index, contrast) for index, verdict in enumerate(unjudged) for contrast in _contrasts(verdict)]
    reach = (1.0 - confidence) / max(1, len(tests))
    raw = [_raw_p(unjudged[index], contrast, reach) for index, contrast in tests]
    normal = [normal_p(contrast.t or 0.0, contrast.estimate.num_clusters) for _, contrast in tests]
    strict_ps = dict(zip(tests, map(PValues, raw, holm(raw)), strict=True))
    normal_ps = dict(zip(tests, map(PValues, normal, holm(normal)), strict=True))
    judged = []
    for index, verdict in enumerate(unjudged):
        evidence = verdict.evidence
        if evidence is not None and verdict.reason is None:
            strict, if_normal = (_tests_of(evidence, index, ps) for ps in (strict_ps, normal_ps))
            verdict = replace(
                verdict,
                p=strict,
                p_if_normal=if_normal,
                is_exact=_is_within_reach(evidence, reach),
                num_tests=len(tests),
                answer=_answer(verdict, strict, confidence),
                answer_if_normal=_answer(verdict, if_normal, confidence),
            )
        judged.append(verdict)
    return judged


def _tests_of(evidence: Evidence, index: int, ps: dict[tuple[int, Contrast], PValues]) -> Tests:
    curvature = ps.get((index, evidence.along.curvature)) if evidence.along else None
    return Tests(ps.get((index, evidence.trend)), curvature)


def _contrasts(verdict: Verdict) -> list[Contrast]:
    """Return the tests that a verdict rests on."""
    evidence = verdict.evidence
    if evidence is None or verdict.reason is not None:
        return []
    contrasts = [evidence.trend, *([evidence.along.curvature] if evidence.along else [])]
    return [contrast for contrast in contrasts if contrast.t is not None]


def _raw_p(verdict: Verdict, contrast: Contrast, reach: float) -> float:
    evidence = verdict.evidence
    assert evidence is not None
    assert contrast.t is not None
    p = skewed_p(contrast.t, contrast.estimate.num_clusters)
    return max(p, evidence.exact) if _is_within_reach(evidence, reach) else p


def _is_within_reach(evidence: Evidence, reach: float) -> bool:
    return smallest_p(evidence.effect.num_clusters, evidence.num_levels) <= reach


def _answer(verdict: Verdict, p: Tests, confidence: float) -> Answer:
    evidence = verdict.evidence
    assert evidence is not None
    level = 1.0 - confidence
    if evidence.along and evidence.along.turn is not None:
        # Up and down again: no word for one direction fits, whatever the straight line says.
        return "mixed" if p.curvature and p.curvature.corrected <= level else "undecided"
    if p.trend is None or p.trend.corrected > level:
        return "undecided"
    border = verdict.margin or 0.0
    moves = (evidence.trend.estimate.value - border, evidence.effect.value - border)
    signs = {move * verdict.question.claim.direction > 0 for move in moves}
    if len(signs) > 1:
        return "undecided"
    return "supported" if signs.pop() else "refuted"


def _with_seeds(verdict: Verdict, level: float) -> Verdict:
    """Return the verdict with the number of seeds that would decide it, as one of the tests that are still open."""
    if verdict.evidence is None or verdict.reason is not None:
        return verdict
    estimate, along = verdict.evidence.trend.estimate, verdict.evidence.along
    more = estimate.num_clusters + 1 if verdict.answer == "undecided" else MIN_CLUSTERS
    needed = seeds_to_decide(estimate.value - (verdict.margin or 0.0), estimate.std, level, at_least=more)
    if along and along.turn is not None:
        bow = along.curvature.estimate
        needed = seeds_to_decide(bow.value, bow.std, level, at_least=more)
    return replace(verdict, seeds_to_decide=needed)

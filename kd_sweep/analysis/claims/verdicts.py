"""Verdicts on the claims of the paper, corrected for the number of tests of a study."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from kd_sweep.analysis.added_seeds.seed_looks import LookedAt
from kd_sweep.analysis.claims.evidence import Evidence, evidence_on
from kd_sweep.analysis.claims.p_values import Key, PValue, PValues, Test, key_of
from kd_sweep.analysis.claims.paper_claims import MATCHING, Question, is_selected_by, matching_questions, questions
from kd_sweep.analysis.sample import Sample
from kd_sweep.statistics.intervals import MIN_CLUSTERS, MIN_RESAMPLES, Bootstrap
from kd_sweep.statistics.significance import holm, seeds_to_decide
from kd_sweep.statistics.spending import Looks

Answer = Literal["supported", "refuted", "mixed", "undecided", "not tested"]


@dataclass(frozen=True)
class Tests:
    """The two tests that a verdict rests on; None where there is none, as of the curvature of two levels."""

    trend: PValue | None = None
    curvature: PValue | None = None


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
    looks: Looks | None = None
    """When a study with adaptive seeds is looked at: p values are corrected for that."""
    seeds_to_decide: float | None = None
    """Infinity for more than 1000, NaN where it is unknown."""


def verdicts(sample: Sample, bootstrap: Bootstrap, margin: float, looked: LookedAt | None = None) -> list[Verdict]:
    """Return the verdicts on the paper's claims, one per outcome, strength and arm, then those on logits matching.

    Every question has a test of the trend over all levels and, with three levels or more, one of the curvature. All of
    a study's tests are one family: at a confidence of 95 %, a study in which nothing has an effect has a verdict on
    anything in at most 5 % of cases.

    Args:
        sample: the study's trials.
        bootstrap: how intervals are taken, and the confidence of verdicts.
        margin: by how much logits matching may raise fidelity and still hardly raise it.
        looked: of a study with adaptive seeds, its samples at all looks, of which the last is judged; p values are
            corrected for the others.
    """
    if looked is None:
        unjudged, p_values = _all_unjudged(sample, bootstrap, margin), PValues(None)
    else:
        *earlier, unjudged = [
            _all_unjudged(one, bootstrap if one is looked.now else replace(bootstrap, resamples=MIN_RESAMPLES), margin)
            for one in looked.samples or (sample,)
        ]
        if not looked.samples:
            unjudged = [replace(verdict, reason=verdict.reason or looked.too_early) for verdict in unjudged]
        p_values = PValues(looked.looks, [test for verdicts in earlier for test in _all_tests(verdicts)])
    judged = _judged(unjudged, p_values, bootstrap.confidence)
    tests = [p for verdict in judged for p in (verdict.p.trend, verdict.p.curvature) if p is not None]
    open_ones = sum(p.corrected > 1.0 - bootstrap.confidence for p in tests)
    level = p_values.last_level((1.0 - bootstrap.confidence) / max(1, open_ones))
    return [_with_seeds(verdict, level) for verdict in judged]


def _all_unjudged(sample: Sample, bootstrap: Bootstrap, margin: float) -> list[Verdict]:
    all_questions = [*questions(sample), *matching_questions(sample)]
    return [_unjudged(sample, question, bootstrap, margin) for question in all_questions]


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


def _judged(unjudged: list[Verdict], p_values: PValues, confidence: float) -> list[Verdict]:
    """Return the verdicts with p values that are corrected for all tests of the study, and with their answers."""
    tests = list(_all_tests(unjudged))
    reach = (1.0 - confidence) / max(1, len(tests))
    raw = [p_values.strict(test, reach) for test in tests]
    normal = [p_values.if_normal(test) for test in tests]
    strict_ps = dict(zip([test.key for test in tests], map(PValue, raw, holm(raw)), strict=True))
    normal_ps = dict(zip([test.key for test in tests], map(PValue, normal, holm(normal)), strict=True))
    judged = []
    for verdict in unjudged:
        evidence = verdict.evidence
        if evidence is not None and verdict.reason is None:
            strict, if_normal = (Tests(*map(ps.get, _keys(verdict))) for ps in (strict_ps, normal_ps))
            verdict = replace(
                verdict,
                p=strict,
                p_if_normal=if_normal,
                is_exact=p_values.is_exact(evidence, reach),
                num_tests=len(tests),
                looks=p_values.looks,
                answer=_answer(verdict, strict, confidence),
                answer_if_normal=_answer(verdict, if_normal, confidence),
            )
        judged.append(verdict)
    return judged


def _keys(verdict: Verdict) -> list[Key]:
    return [key_of(verdict.question, is_curvature=is_curvature) for is_curvature in (False, True)]


def _all_tests(verdicts: list[Verdict]) -> Iterator[Test]:
    """Yield the tests that verdicts rest on."""
    for verdict in verdicts:
        evidence = verdict.evidence
        if evidence is not None and verdict.reason is None:
            contrasts = [evidence.trend, *([evidence.along.curvature] if evidence.along else [])]
            for key, contrast in zip(_keys(verdict), contrasts, strict=False):
                if contrast.t is not None:
                    yield Test(key, contrast, evidence)


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

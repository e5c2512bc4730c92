"""Verdicts on the claims of the paper, corrected for the number of tests of a study."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from kd_sweep.analysis.added_seeds.seed_looks import LookedAt
from kd_sweep.analysis.claims.carried_verdicts import carried_verdicts
from kd_sweep.analysis.claims.chain_claims import chain_questions
from kd_sweep.analysis.claims.evidence import evidence_on
from kd_sweep.analysis.claims.p_values import PValue, PValues, Test, key_of
from kd_sweep.analysis.claims.paper_claims import MATCHING, Question, is_selected_by, matching_questions, questions
from kd_sweep.analysis.claims.verdict_record import Answer, Equivalence, Tests, Verdict
from kd_sweep.analysis.sample import Sample
from kd_sweep.statistics.intervals import MIN_CLUSTERS, MIN_RESAMPLES, Bootstrap
from kd_sweep.statistics.significance import detectable_effect, holm, seeds_to_decide


def verdicts(
    sample: Sample, bootstrap: Bootstrap, margins: Mapping[str, float], looked: LookedAt | None = None
) -> list[Verdict]:
    """Return the verdicts on the paper's claims, one per outcome, strength and arm, then those on logits matching and
    on outcomes that go together.

    Every question has a test of the trend over all levels and, with three levels or more, one of the curvature; that on
    logits matching has one against each side of its margin, that on two outcomes one of their slope. All of a study's
    tests are one family: at a confidence of 95 %, a study in which nothing has an effect has a verdict on anything in
    at most 5 % of cases. What one outcome carries for another follows from the two links, without a test of its own.

    Args:
        sample: the study's trials.
        bootstrap: how intervals are taken, and the confidence of verdicts.
        margins: how much logits matching may change an outcome and still hardly change it.
        looked: of a study with adaptive seeds, its samples at all looks, of which the last is judged; p values are
            corrected for the others.
    """
    if looked is None:
        unjudged, p_values = _all_unjudged(sample, bootstrap, margins), PValues(None)
    else:
        *earlier, unjudged = [
            _all_unjudged(one, bootstrap if one is looked.now else replace(bootstrap, resamples=MIN_RESAMPLES), margins)
            for one in looked.samples or (sample,)
        ]
        if not looked.samples:
            unjudged = [replace(verdict, reason=verdict.reason or looked.too_early) for verdict in unjudged]
        p_values = PValues(looked.looks, [test for verdicts in earlier for test in _all_tests(verdicts)])
    judged = _judged(unjudged, p_values, bootstrap.confidence)
    tests = [p for verdict in judged for p in (verdict.p.trend, verdict.p.curvature, verdict.p.below) if p is not None]
    open_ones = sum(p.corrected > 1.0 - bootstrap.confidence for p in tests)
    level = p_values.last_level((1.0 - bootstrap.confidence) / max(1, open_ones))
    complete = [_with_seeds(verdict, level) for verdict in judged]
    return [*complete, *carried_verdicts(sample, complete, bootstrap)]


def _all_unjudged(sample: Sample, bootstrap: Bootstrap, margins: Mapping[str, float]) -> list[Verdict]:
    all_questions = [*questions(sample), *matching_questions(sample), *chain_questions(sample)]
    return [_unjudged(sample, question, bootstrap, margins) for question in all_questions]


def _unjudged(sample: Sample, question: Question, bootstrap: Bootstrap, margins: Mapping[str, float]) -> Verdict:
    margin = margins[question.outcome] if question.claim is MATCHING and question.outcome else None
    verdict = Verdict(question, "undecided", "undecided", margin=margin)
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
            names = {name: key_of(verdict.question, name) for name in evidence.contrasts}
            strict, if_normal = (
                Tests(**{name: ps[key] for name, key in names.items()}) for ps in (strict_ps, normal_ps)
            )
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
            verdict = _with_equivalence(verdict, confidence) if verdict.margin else verdict
        judged.append(verdict)
    return judged


def _all_tests(verdicts: list[Verdict]) -> Iterator[Test]:
    """Yield the tests that verdicts rest on."""
    for verdict in verdicts:
        evidence = verdict.evidence
        if evidence is not None and verdict.reason is None:
            for name, contrast in evidence.contrasts.items():
                yield Test(key_of(verdict.question, name), contrast, evidence)


def _with_equivalence(verdict: Verdict, confidence: float) -> Verdict:
    """Return the verdict with whether its effect surely is within the margin on both sides, or surely is not.

    Within it is what passes two one-sided tests (Schuirmann, J. Pharmacokinet. Biopharm. 15, 1987). Each is at half of
    what the confidence leaves, since the other side of each border is an answer as well.
    """
    trend, below = verdict.p.trend, verdict.p.below
    if verdict.evidence is None or verdict.margin is None or trend is None or below is None:
        return replace(verdict, equivalence="undecided")
    effect = verdict.evidence.effect.value
    is_within = abs(effect) < verdict.margin
    p = max(trend, below, key=lambda p: p.raw) if is_within else trend if effect > 0 else below
    sure: Equivalence = "equivalent" if is_within else "not equivalent"
    return replace(verdict, equivalence=sure if p.corrected <= 1.0 - confidence else "undecided", p_equivalence=p)


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
    """Return the verdict with the seeds that would decide it, and what these seeds could show, as one of the tests that
    are still open.
    """
    if verdict.evidence is None or verdict.reason is not None:
        return verdict
    estimate, along = verdict.evidence.trend.estimate, verdict.evidence.along
    more = estimate.num_clusters + 1 if verdict.answer == "undecided" else MIN_CLUSTERS
    if along and along.turn is not None:
        estimate = along.curvature.estimate
    needed = seeds_to_decide(estimate.value - (verdict.margin or 0.0), estimate.std, level, at_least=more)
    seen = detectable_effect(estimate.std, estimate.num_clusters, level)
    return replace(verdict, seeds_to_decide=needed, detectable=seen)

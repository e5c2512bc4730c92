"""Verdicts on what one outcome carries of the effect of strength on another."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from kd_sweep.analysis.chain import moved_by, path_of
from kd_sweep.analysis.claims.chain_claims import CHAIN_CLAIMS, ChainClaim
from kd_sweep.analysis.claims.evidence import Evidence
from kd_sweep.analysis.claims.p_values import PValue
from kd_sweep.analysis.claims.paper_claims import CLAIMS
from kd_sweep.analysis.claims.verdict_record import Answer, Tests, Verdict
from kd_sweep.analysis.sample import Sample
from kd_sweep.analysis.trial_settings import BOTH, STRENGTH, is_of_teachers
from kd_sweep.statistics.intervals import Bootstrap, Estimate
from kd_sweep.statistics.shapes import Contrast

_ONE_WAY = ("supported", "refuted")


def carried_verdicts(sample: Sample, judged: Sequence[Verdict], bootstrap: Bootstrap) -> Iterator[Verdict]:
    """Yield a verdict for every mediator and strength that moves it.

    Something is carried if strength moves the mediator and the outcome goes with it, so the larger of the two corrected
    p values counts (joint significance: MacKinnon et al., Psychol. Methods 7, 2002), and no test is added to the
    family: where one of the links is nothing, this is wrong only if that link's own verdict is.

    Args:
        sample: the study's trials.
        judged: the verdicts on the links.
        bootstrap: how intervals are taken.
    """
    for claim in CHAIN_CLAIMS:
        for together in judged:
            if together.question.claim is claim.together and together.question.mediator is not None:
                for varied in moved_by(sample, together.question.mediator, together.question.settings):
                    moved = _on_mediator(judged, together, varied)
                    if moved is not None:
                        yield from _carried(sample, claim, varied, moved, together, bootstrap)


def _on_mediator(judged: Sequence[Verdict], together: Verdict, varied: str) -> Verdict | None:
    """Return the verdict on the effect of a strength on the mediator, in the arm of the link."""
    mediator, arm = together.question.mediator, together.question.arm
    assert mediator is not None
    names = (STRENGTH, BOTH) if is_of_teachers(mediator) else (varied,)  # teachers know nothing of the student's
    for verdict in judged:
        question = verdict.question
        pairs = zip(question.arm, arm, strict=True)  # what does not depend on a part of the arm has None there
        has_teachers = (question.arm.control, question.arm.epochs) == (arm.control, arm.epochs)
        is_of_arm = has_teachers and all(own in (None, part) for own, part in pairs)
        if question.claim in CLAIMS and question.outcome == mediator and question.varied in names and is_of_arm:
            return verdict
    return None


def _carried(
    sample: Sample, claim: ChainClaim, varied: str, moved: Verdict, together: Verdict, bootstrap: Bootstrap
) -> Iterator[Verdict]:
    question = replace(together.question, claim=claim.carries, varied=varied)
    reason = together.reason or moved.reason
    evidence = _evidence(sample, together, varied, bootstrap)
    if evidence is None:
        return
    verdict = Verdict(question, "undecided", "undecided", reason=reason, evidence=evidence)
    if reason is None:
        value = evidence.effect.value
        needed = [one.seeds_to_decide for one in (moved, together) if one.seeds_to_decide is not None]
        turns = f"Strength moves {question.mediator} up and down, so no one direction is carried."
        verdict = replace(
            verdict,
            answer=_answer(claim, value, moved.answer, together.answer),
            answer_if_normal=_answer(claim, value, moved.answer_if_normal, together.answer_if_normal),
            doubt=turns if moved.answer == "mixed" else None,
            p=_larger(moved.p, together.p),
            p_if_normal=_larger(moved.p_if_normal, together.p_if_normal),
            num_tests=together.num_tests,
            looks=together.looks,
            seeds_to_decide=max(needed, key=_unknown_last, default=None),
        )
    yield verdict


def _evidence(sample: Sample, together: Verdict, varied: str, bootstrap: Bootstrap) -> Evidence | None:
    """Return what a link carries of the effect of a strength; None where no two settings differ in it alone."""
    link = together.evidence.link if together.evidence else None
    path = path_of(sample, link, varied, bootstrap) if link else None
    if together.evidence is None or path is None:
        return None
    effect = Estimate(path.carried.value, together.evidence.effect.num_clusters, None, None, path.carried.interval)
    return replace(
        together.evidence,
        basis="carried",
        effect=effect,
        trend=Contrast(effect, None),
        from_level=path.from_level,
        to_level=path.to_level,
        path=path,
    )


def _unknown_last(seeds: float) -> float:
    return math.inf if math.isnan(seeds) else seeds


def _answer(claim: ChainClaim, value: float, *links: Answer) -> Answer:
    if not all(answer in _ONE_WAY for answer in links):
        return "undecided"
    return "supported" if value * claim.carries.direction > 0 else "refuted"


def _larger(first: Tests, second: Tests) -> Tests:
    """Return the larger of two p values, raw and corrected; none where one is unknown."""
    if first.trend is None or second.trend is None:
        return Tests()
    return Tests(PValue(max(first.trend.raw, second.trend.raw), max(first.trend.corrected, second.trend.corrected)))

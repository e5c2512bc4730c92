"""Verdicts in plain words, with their evidence and what to beware of."""

import itertools
import math
from collections.abc import Iterator

from kd_sweep.analysis.claims.chain_sentences import carried_text, together_text
from kd_sweep.analysis.claims.evidence import Along, Evidence
from kd_sweep.analysis.claims.p_values import PValue
from kd_sweep.analysis.claims.paper_claims import OVERLAP, Question
from kd_sweep.analysis.claims.verdict_record import Verdict
from kd_sweep.analysis.sample import Sample
from kd_sweep.analysis.trial_settings import BOTH, DIMENSIONS, NO_TEACHING, STUDENT, is_of_teachers
from kd_sweep.analysis.wording import between, counted, number, probability
from kd_sweep.statistics.intervals import MIN_CLUSTERS
from kd_sweep.statistics.permutations import seeds_within_reach
from kd_sweep.statistics.significance import MAX_SEEDS
from kd_sweep.study.extra_metrics import metric_named

LARGE_SHARE = 0.1
"""Above this share of chance a mutual information's sentence says so."""
FEW_IMAGES = 2.0
"""Up to this number of images, the sentence gives an effect in images."""

_MAX_LEVELS = 8


def sentence(verdict: Verdict, sample: Sample, *, brief: bool = False) -> str:
    """Return the verdict with its evidence in plain words.

    Args:
        verdict: on one claim by one outcome.
        sample: the trials that it is on.
        brief: without each strength, the bootstrap, the images by kind, and what could not have been seen.
    """
    start = f"{verdict.answer.capitalize()}: {verdict.question.claim.name}"
    of_what = "; ".join(_subject(verdict, sample))
    start += f" ({of_what})" if of_what else ""
    evidence, reason = verdict.evidence, verdict.reason
    if reason is not None:
        start += f": {reason}" if verdict.answer == "not tested" else f": no verdict, since {reason}"
    if evidence is None:
        return f"{start}."
    parts = [f"{start}."]
    if evidence.path is not None:
        parts += carried_text(verdict, evidence.path, _moved_words(verdict.question, sample))
    elif evidence.link is not None:
        parts += together_text(evidence.link)
    else:
        parts.append(_effect(verdict, evidence, sample, brief=brief))
    if evidence.along and not brief:
        parts += _along(verdict, evidence.along)
    if verdict.reason is None:
        parts += [*_probabilities(verdict, evidence, brief=brief), *_doubt(verdict, evidence, brief=brief)]
    if evidence.missing:
        parts.append(f"Not in it: {'; '.join(evidence.missing)}.")
    if evidence.among and not brief:
        parts.append(_among(evidence))
    return " ".join([*parts, *_caveats(verdict, evidence, sample)])


def shape(along: Along) -> str:
    """Return how the outcome goes along the levels, in words: of a hump that is sure, of the means otherwise."""
    if along.turn is not None:
        there, beyond = ("rises", "falls") if along.curvature.estimate.value > 0 else ("falls", "rises")
        return f"It {there} up to {along.turn:g} and {beyond} beyond."
    levels, means = zip(*along.means, strict=True)
    ups = [after > before for before, after in itertools.pairwise(means)]
    turns = [index for index in range(1, len(ups)) if ups[index] != ups[index - 1]]
    if not turns:
        return f"The means {'rise' if ups[0] else 'fall'} with every step."
    if len(turns) == 1:
        there, beyond = ("rise", "fall") if ups[0] else ("fall", "rise")
        return f"The means {there} up to {levels[turns[0]]:g} and {beyond} beyond."
    return f"The means turn {len(turns)} times."


def _subject(verdict: Verdict, sample: Sample) -> Iterator[str]:
    """Yield the outcome, and what else tells this verdict from others on it."""
    question = verdict.question
    if question.outcome is None:
        return
    yield question.outcome
    if question.arm.maps is not None:
        yield f"maps: {question.arm.maps}"
    if question.arm.loss is not None and len(sample.losses) > 1:
        yield "labels alone" if question.arm.label == NO_TEACHING else f"loss: {question.arm.label}"
    if verdict.evidence is None and question.varied in DIMENSIONS and STUDENT in sample.dimensions:
        yield f"{_whose(question)} strength"


def _effect(verdict: Verdict, evidence: Evidence, sample: Sample, *, brief: bool) -> str:
    effect = evidence.effect
    text = number(effect.value)
    # Student's t first: the bootstrap's is the shorter one with few seeds, and would look like the whole doubt.
    intervals = ""
    if effect.t_interval is not None and effect.interval is not None:
        intervals = f"; t interval {between(effect.t_interval)}"
        intervals += "" if brief else f", bootstrap {between(effect.interval)}"
    of = f"mean of {counted(effect.num_clusters, 'seed')}, "
    count = f"({of}{counted(evidence.num_pairs, 'pair')}{intervals})"
    if evidence.basis == "losses":
        return (
            f"mse_logits with alpha 0 instead of kl changes it by {text} {count}; under {verdict.margin:g} is hardly."
            f"{_equivalent(verdict)}"
        )
    whose, held = _moved_words(verdict.question, sample)
    if evidence.basis == "ranks":
        trials = f"({of}{counted(evidence.num_pairs, 'trial')}{intervals})"
        return f"Its rank correlation with {whose}strength within a seed is {text} {trials}."
    what = "its size" if verdict.question.claim.is_of_size else "it"
    text = (
        f"From {whose}strength {evidence.from_level:g} to {evidence.to_level:g}{held} {what} changes by {text} {count}"
    )
    if evidence.ends is None:
        return f"{text}."
    return f"{text}: train minus validation goes from {number(evidence.ends[0])} to {number(evidence.ends[1])}."


def _moved_words(question: Question, sample: Sample) -> tuple[str, str]:
    """Return whose strength moved and whose was held equal, in words; empty where there is one strength."""
    if STUDENT not in sample.dimensions:
        return "", ""
    if question.varied == BOTH:
        return f"the {_whose(question)} ", ""
    other = "teachers'" if question.varied == STUDENT else "student's"
    return f"the {_whose(question)} ", f", the {other} held equal,"


def _whose(question: Question) -> str:
    """Return whose strength moves, or could: of both together the one that the outcome depends on."""
    if question.varied == STUDENT or question.arm.loss == NO_TEACHING:
        return "student's"
    if question.varied == BOTH and not (question.outcome and is_of_teachers(question.outcome)):
        return "teachers' and the student's"
    return "teachers'"


def _equivalent(verdict: Verdict) -> str:
    """Return whether the change is within the margin on both sides, in words; nothing where that was not tested."""
    if verdict.p_equivalence is None or not verdict.margin:
        return ""
    p = f"p {_both(verdict.p_equivalence)}"
    within = f"within {verdict.margin:g} either way"
    if verdict.equivalence == "undecided":
        return f" Whether it is {within} is undecided ({p})."
    return f" It is surely {'' if verdict.equivalence == 'equivalent' else 'not '}{within} ({p})."


def _along(verdict: Verdict, along: Along) -> Iterator[str]:
    yield shape(along)
    farthest = "Highest" if verdict.question.claim.direction > 0 else "Lowest"
    within = ""
    if along.best_range is not None:
        low, high = along.best_range.low, along.best_range.high
        within = f" (95 %: {low:g})" if low == high else f" (95 %: {low:g} to {high:g})"
    yield f"{farthest} at {along.best_level:g}{within}."
    if len(along.against_lowest) <= _MAX_LEVELS:
        text = [
            f"{level.level:g} {number(level.estimate.value)}" + (f" (p {probability(level.p)})" if level.p else "")
            for level in along.against_lowest
        ]
        yield f"Against {along.means[0][0]:g}: {', '.join(text)}."


def _probabilities(verdict: Verdict, evidence: Evidence, *, brief: bool) -> Iterator[str]:
    if verdict.p.trend is None:
        return
    if brief:
        p = verdict.p.curvature if verdict.answer == "mixed" and verdict.p.curvature else verdict.p.trend
        tests = counted(verdict.num_tests, "test")
        yield f"p {probability(p.corrected)}, corrected for {tests}{_looks(verdict, evidence)}."
        return
    text = f"p {_both(verdict.p.trend)}" if evidence.along is None else f"Trend: p {_both(verdict.p.trend)}"
    if evidence.along and verdict.p.curvature:
        text += f"; curvature {number(evidence.along.curvature.estimate.value)}: p {_both(verdict.p.curvature)}"
    yield f"{text} for {counted(verdict.num_tests, 'test')}{_looks(verdict, evidence)}."


def _looks(verdict: Verdict, evidence: Evidence) -> str:
    looks = verdict.looks
    if looks is None:
        return ""
    num_seeds = evidence.effect.num_clusters
    return (
        f" and looks at {looks.first} to {looks.last} seeds (this is at {num_seeds}, with "
        f"{looks.spent(num_seeds):.0%} of the error spent)"
    )


def _both(p: PValue) -> str:
    return f"{probability(p.raw)}, corrected {probability(p.corrected)}"


def _doubt(verdict: Verdict, evidence: Evidence, *, brief: bool) -> Iterator[str]:
    """Yield why an undecided verdict is so, and how many seeds would probably decide it."""
    num_seeds = evidence.effect.num_clusters
    if verdict.answer != "undecided":
        return
    if num_seeds < MIN_CLUSTERS:
        yield f"An interval needs at least {MIN_CLUSTERS} seeds."
    elif evidence.trend.t is None and evidence.path is None:
        yield "All seeds agree in every digit, which shows no spread to judge by."
        return
    if verdict.doubt is not None:
        yield verdict.doubt
        return
    if verdict.answer_if_normal != "undecided":
        yield f"It would be {verdict.answer_if_normal} if differences between seeds were known to be normal."
    needed = verdict.seeds_to_decide
    if needed is None or math.isnan(needed):
        yield "One seed shows no spread, so how many would decide it is unknown."
    else:
        many = f"more than {MAX_SEEDS}" if math.isinf(needed) else f"{needed:.0f}"
        yield f"If effect and spread are as observed, {many} seeds in all would decide it four times in five."
    if verdict.detectable is not None and not brief:
        yield _missed(verdict, evidence, verdict.detectable)


def _missed(verdict: Verdict, evidence: Evidence, detectable: float) -> str:
    """Return the least change that these seeds would probably have shown, if any is possible."""
    metric = metric_named(verdict.question.outcome or "")
    greatest = 1.0 if evidence.basis == "ranks" or (metric is not None and metric.unit == "share") else math.inf
    if detectable >= greatest and evidence.link is None:
        return "No change, however large, could have been seen with so few seeds and so many tests."
    least = number(detectable).removeprefix("+")
    noun = {"ranks": "correlation", "association": "slope"}.get(evidence.basis, "change")
    what = f"A {noun} nearer to {verdict.margin:g} than {least}" if verdict.margin else f"A {noun} below {least}"
    return f"{what} could not have been seen: with so many seeds and tests, it is missed more than once in five times."


def _among(evidence: Evidence) -> str:
    """Return how fidelity changes on images that the teachers classify right, and on those that they do not."""
    changes = [
        f"{where} {number(estimate.value)}" + (f" {between(estimate.t_interval)}" if estimate.t_interval else "")
        for where, estimate in evidence.among
    ]
    return f"By images: {', '.join(changes)}; which images these are depends on the teachers."


def _caveats(verdict: Verdict, evidence: Evidence, sample: Sample) -> Iterator[str]:
    question = verdict.question
    student_moved = question.varied in (STUDENT, BOTH) or STUDENT not in sample.dimensions
    if question.outcome == "generalization_gap" and student_moved and evidence.link is None:
        yield (
            "Train minus validation falls by definition: the training stream gets harder with strength, and clean "
            "images do not (generalization_gap_augmented has both at one strength)."
        )
    if verdict.answer in ("supported", "refuted", "mixed") and abs(evidence.effect.value) < FEW_IMAGES * evidence.step:
        yield f"That is fewer than {FEW_IMAGES:g} images: one is {evidence.step:.4f} of it."
    if (
        any(name is not None and name.startswith("attention_iou_") for name in (question.outcome, question.mediator))
        and OVERLAP not in sample.outcomes
    ):
        yield "A part of it is chance: larger regions overlap more."
    if question.arm.maps == "cam" and evidence.random_teachers:
        yield (
            "The teachers started from random weights: cam shows features along a direction that training never turns "
            "(docs/metrics.md), grad_cam where a network looks for its answer."
        )
    if evidence.chance_share is not None and evidence.chance_share > LARGE_SHARE:
        yield (
            f"Shuffled images have up to {evidence.chance_share:.2f} of it as well: a bias that is larger where the "
            "information is less, so that the effect looks smaller than it is."
        )


def exact_from(num_levels: int, num_tests: int, confidence: float) -> int:
    """Return how many seeds an exact test takes, at so many levels and as one of so many tests."""
    return seeds_within_reach(num_levels, (1.0 - confidence) / max(1, num_tests))

"""Verdicts in plain words, with their evidence and what to beware of."""

import math
from collections.abc import Iterator

from kd_sweep.report.claims import LOSSES, RANKS, Verdict
from kd_sweep.report.intervals import MAX_SEEDS, MIN_CLUSTERS, Interval
from kd_sweep.report.sample import Sample
from kd_sweep.report.settings import NO_TEACHING, STRENGTH, STUDENT

LARGE_SHARE = 0.1
"""Above this share of chance a mutual information's sentence says so."""


def sentence(verdict: Verdict, sample: Sample) -> str:
    """Return the verdict with its evidence in plain words."""
    start = f"{verdict.answer.capitalize()}: {verdict.claim}"
    of_what = "; ".join(_subject(verdict, sample))
    start += f" ({of_what})" if of_what else ""
    if verdict.estimate is None:
        return f"{start}: {verdict.reason}."
    start += "."
    return " ".join([start, _evidence(verdict, sample), *_doubt(verdict), *_caveats(verdict, sample)])


def number(value: float) -> str:
    """Return a change with its sign, to four decimals or, where it is smaller, three digits."""
    return f"{value:+.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:+.2e}"


def counted(count: int, noun: str) -> str:
    """Return a number of things, `1 seed` or `3 seeds`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _subject(verdict: Verdict, sample: Sample) -> Iterator[str]:
    """Yield the outcome, and what else tells this verdict from others on it."""
    if verdict.outcome is None:
        return
    yield verdict.outcome
    if verdict.arm.maps is not None:
        yield f"maps: {verdict.arm.maps}"
    if verdict.arm.loss is not None and len(sample.losses) > 1:
        yield "labels alone" if verdict.arm.loss == NO_TEACHING else f"loss: {verdict.arm.loss}"
    if verdict.estimate is None and verdict.varied in (STRENGTH, STUDENT) and STUDENT in sample.dimensions:
        yield "student's strength" if verdict.varied == STUDENT else "teachers' strength"


def _evidence(verdict: Verdict, sample: Sample) -> str:
    estimate = verdict.estimate
    assert estimate is not None
    shown, seeds = number(estimate.value), counted(estimate.num_clusters, "seed")
    # Student's t first: the bootstrap's is the shorter one with few seeds, and would look like the whole doubt.
    intervals = ""
    if estimate.t_interval is not None and estimate.interval is not None:
        intervals = f"; t interval {_between(estimate.t_interval)}, bootstrap {_between(estimate.interval)}"
    count = f"(mean of {seeds}, {counted(verdict.num_pairs or 0, 'pair')}{intervals})"
    if verdict.basis == LOSSES:
        return (
            f"mse_logits with alpha 0 instead of kl changes it by {shown} {count}; under {verdict.margin:g} is hardly."
        )
    whose, held = "", ""
    if STUDENT in sample.dimensions:
        names = ("the student's", "the teachers'")
        mover, other = names if verdict.varied == STUDENT else names[::-1]
        whose, held = f"{mover} ", f", {other} held equal,"
    if verdict.basis == RANKS:
        of = f"(mean of {seeds}, {counted(verdict.num_pairs or 0, 'trial')}{intervals})"
        return f"Its rank correlation with {whose}strength within a seed is {shown} {of}."
    levels = f"{verdict.from_level:g} to {verdict.to_level:g}"
    return f"From {whose}strength {levels}{held} it changes by {shown} {count}."


def _between(interval: Interval) -> str:
    return f"[{number(interval.low)}, {number(interval.high)}]"


def _doubt(verdict: Verdict) -> list[str]:
    """Return why an undecided verdict is so, and how many seeds would probably decide it."""
    estimate, needed = verdict.estimate, verdict.seeds_to_decide
    if verdict.answer != "undecided" or estimate is None:
        return []
    reasons = [] if estimate.t_interval is not None else [f"An interval needs at least {MIN_CLUSTERS} seeds."]
    if needed is None or math.isnan(needed):
        reasons.append("One seed shows no spread, so how many would decide it is unknown.")
    else:
        many = f"more than {MAX_SEEDS}" if math.isinf(needed) else f"{needed:.0f}"
        reasons.append(f"If effect and spread are as observed, {many} seeds in all would decide it four times in five.")
    return reasons


def _caveats(verdict: Verdict, sample: Sample) -> Iterator[str]:
    student_moved = verdict.varied == STUDENT or STUDENT not in sample.dimensions
    if verdict.outcome == "generalization_gap" and verdict.answer == "supported" and student_moved:
        yield (
            "A part of that is by definition: the training stream gets harder with strength, and clean images do not "
            "(generalization_gap_augmented has both at one strength)."
        )
    if verdict.arm.maps == "cam" and verdict.random_teachers:
        yield (
            "The teachers started from random weights: cam shows features along a direction that training never turns "
            "(docs/metrics.md), grad_cam where a network looks for its answer."
        )
    if verdict.chance_share is not None and verdict.chance_share > LARGE_SHARE:
        yield (
            f"Shuffled images have up to {verdict.chance_share:.2f} of it as well: a bias that is larger where the "
            "information is less, so that the effect looks smaller than it is."
        )

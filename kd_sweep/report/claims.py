"""A verdict on each claim of the paper (arXiv 2405.00739): what the study's trials say of it, and how surely."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kd_sweep.report.comparisons import Pair, extremes
from kd_sweep.report.correlations import within_seeds
from kd_sweep.report.effects import paired_effect
from kd_sweep.report.intervals import MIN_CLUSTERS, Bootstrap, Estimate, Interval, seeds_to_decide
from kd_sweep.report.sample import Sample
from kd_sweep.report.settings import ALPHA, LOSS, NO_ARM, NO_TEACHING, STRENGTH, STUDENT, TEMPERATURE, Arm, Setting

Answer = Literal["supported", "refuted", "undecided", "not tested"]

PAIRED = "paired by seed, lowest and highest strength"
RANKS = "rank correlation with strength within each seed"
LOSSES = "paired by seed, kl and mse_logits with alpha 0"

LOGITS_MATCHING = "logits matching hardly raises fidelity"
FIDELITIES = ("fidelity_train", "fidelity_val", "fidelity_val_augmented")
SHUFFLED = "_shuffled"


@dataclass(frozen=True)
class Claim:
    """Stronger augmentation moves these outcomes in this direction."""

    name: str
    outcomes: tuple[str, ...]
    """Reported metrics; one ending in an underscore stands for every metric that begins so."""
    direction: Literal[-1, 1]
    moved: tuple[str, ...] = (STRENGTH, STUDENT)
    """Whose strengths the claim is about, where teachers and student have their own."""
    needs_teaching: bool = False
    """It is about what a student takes over from its teachers."""


CLAIMS = (
    Claim("stronger augmentation lowers the teachers' attention IoU", ("attention_iou_teachers",), -1, (STRENGTH,)),
    Claim(
        "stronger augmentation narrows the generalization gap",
        ("generalization_gap", "generalization_gap_augmented"),
        -1,
    ),
    Claim("stronger augmentation lowers fidelity", FIDELITIES, -1, needs_teaching=True),
    Claim("stronger augmentation lowers mutual information", ("mutual_information_",), -1, needs_teaching=True),
    Claim("stronger augmentation raises the student's accuracy", ("val_accuracy",), 1),
)


@dataclass(frozen=True)
class Verdict:
    """What the trials say of one claim by one outcome."""

    claim: str
    outcome: str | None
    answer: Answer
    direction: Literal[-1, 1]
    reason: str | None = None
    """Why it was not tested, or could not be decided."""
    varied: str | None = None
    """The dimension that moved, or the field `distillation_loss`."""
    arm: Arm = NO_ARM
    basis: str | None = None
    from_level: float | None = None
    to_level: float | None = None
    estimate: Estimate | None = None
    num_pairs: int | None = None
    margin: float | None = None
    seeds_to_decide: float | None = None
    """Infinity for more than 1000, NaN where it cannot be told."""
    chance_share: float | None = None
    """The greatest share of the outcome, among the settings compared, that shuffled images have as well."""
    random_teachers: bool = False
    """Whether teachers started from random weights."""


def verdicts(sample: Sample, bootstrap: Bootstrap, margin: float) -> Iterator[Verdict]:
    """Yield the verdicts on `CLAIMS`, one per outcome, strength and arm, then those on logits matching.

    A claim is supported, or refuted, where both intervals, the bootstrap's and Student's t, lie wholly on one side of
    zero: with three or four seeds a bootstrap interval cannot reach beyond the values seen, which is too short.

    Args:
        sample: the study's completed trials.
        bootstrap: how intervals are taken.
        margin: by how much logits matching may raise fidelity and still hardly raise it.
    """
    for claim in CLAIMS:
        reason = _why_not_tested(sample, claim)
        if reason is not None:
            yield Verdict(claim.name, None, "not tested", claim.direction, reason)
            continue
        for verdict, settings in _questions(sample, claim):
            yield _judged(_directional(sample, verdict, settings, bootstrap), bootstrap)
    arms = loss_arms(sample)
    if not arms:
        yield Verdict(LOGITS_MATCHING, None, "not tested", -1, _why_no_arms(sample), margin=margin)
        return
    for outcome in FIDELITIES:
        if outcome in sample.outcomes:
            yield _judged(_matching(sample, outcome, arms, bootstrap, margin), bootstrap)


def loss_arms(sample: Sample) -> list[Pair]:
    """Return (setting with kl, setting with mse_logits and alpha 0) of equal strengths, size and other fields.

    The weight alpha and the temperature belong to the loss: they may differ.
    """
    kl: dict[Setting, list[Setting]] = {}
    for setting, recipe in sample.recipes.items():
        if recipe.taught_by == "kl":
            kl.setdefault(_without_loss(setting), []).append(setting)
    return [
        (first, setting)
        for setting, recipe in sample.recipes.items()
        if recipe.loss == "mse_logits" and recipe.alpha == 0
        for first in kl.get(_without_loss(setting), [])
    ]


def _outcomes(sample: Sample, claim: Claim) -> list[str]:
    found = []
    for name in claim.outcomes:
        if name.endswith("_"):
            # The shuffled one is the bias to compare with, and the paper code's own variants are not what is claimed.
            found += [
                outcome
                for outcome in sample.outcomes
                if outcome.startswith(name) and not outcome.endswith((SHUFFLED, "_rethinkkd"))
            ]
        elif name in sample.outcomes:
            found.append(name)
    return found


def _moved(sample: Sample, claim: Claim) -> list[str]:
    """Return the strengths that the claim is about and that the study varied."""
    return [name for name in claim.moved if name in sample.dimensions and len(sample.levels(name)) > 1]


def _questions(sample: Sample, claim: Claim) -> Iterator[tuple[Verdict, list[Setting]]]:
    """Yield what is judged apart, still undecided, with the settings to judge by: without those of students that the
    claim cannot be about.
    """
    for outcome in _outcomes(sample, claim):
        for varied in _moved(sample, claim):
            needs_teaching = claim.needs_teaching or (varied == STRENGTH and STUDENT in sample.dimensions)
            for arm, settings in sample.arms(outcome).items():
                if not (arm.loss == NO_TEACHING and needs_teaching):
                    yield Verdict(claim.name, outcome, "undecided", claim.direction, varied=varied, arm=arm), settings


def _directional(sample: Sample, verdict: Verdict, settings: list[Setting], bootstrap: Bootstrap) -> Verdict:
    """Return the claim's estimate: paired by seed, or within-seed ranks where these have three seeds and pairs not."""
    outcome, varied = verdict.outcome, verdict.varied
    assert outcome is not None
    assert varied is not None
    levels = sample.levels(varied, settings)
    if len(levels) < 2:
        return replace(verdict, answer="not tested", reason=f"all of its trials have {varied} {levels[0]:g}")
    verdict = replace(
        verdict,
        chance_share=_chance_share(sample, outcome, settings),
        random_teachers=any(sample.recipes[setting].random_teachers for setting in settings),
    )
    comparison = extremes(settings, varied)
    effect = paired_effect(sample, outcome, comparison.pairs, bootstrap) if comparison else None
    num_seeds = effect[0].num_clusters if effect else 0
    if num_seeds < MIN_CLUSTERS:
        ranks = within_seeds(sample, outcome, settings, varied)
        if len(ranks) > num_seeds:
            rhos_S = np.array([rho for rho, _ in ranks.values()])
            num_trials = sum(number for _, number in ranks.values())
            return replace(verdict, basis=RANKS, estimate=bootstrap.estimate(rhos_S), num_pairs=num_trials)
    if comparison is None or effect is None:
        reason = "no seed was run at two strengths with everything else equal; search `seed` as a grid"
        return replace(verdict, reason=reason)
    return replace(
        verdict,
        basis=PAIRED,
        from_level=comparison.from_level,
        to_level=comparison.to_level,
        estimate=effect[0],
        num_pairs=effect[1],
    )


def _chance_share(sample: Sample, outcome: str, settings: list[Setting]) -> float | None:
    """Return the greatest share of an outcome that its shuffled counterpart has, over the settings."""
    shares = []
    for setting in settings:
        trials = [values for values in sample.trials[setting].values() if {outcome, outcome + SHUFFLED} <= set(values)]
        total = sum(values[outcome] for values in trials)
        if total > 0:
            shares.append(sum(values[outcome + SHUFFLED] for values in trials) / total)
    return max(shares, default=None)


def _matching(sample: Sample, outcome: str, arms: list[Pair], bootstrap: Bootstrap, margin: float) -> Verdict:
    verdict = Verdict(LOGITS_MATCHING, outcome, "undecided", -1, varied=LOSS, margin=margin)
    effect = paired_effect(sample, outcome, arms, bootstrap)
    if effect is None:
        return replace(verdict, reason="no seed was run with both losses and everything else equal")
    return replace(verdict, basis=LOSSES, estimate=effect[0], num_pairs=effect[1])


def _judged(verdict: Verdict, bootstrap: Bootstrap) -> Verdict:
    """Return the verdict with its answer and the number of seeds that would decide it."""
    estimate = verdict.estimate
    if estimate is None:
        return verdict
    border = verdict.margin or 0.0
    answer: Answer = "undecided"
    for interval_side in (-1, 1):
        if _beyond(estimate, border, interval_side):
            answer = "supported" if interval_side == verdict.direction else "refuted"
    more = estimate.num_clusters + 1 if answer == "undecided" else MIN_CLUSTERS
    needed = seeds_to_decide(estimate.value - border, estimate.std, bootstrap.confidence, at_least=more)
    return replace(verdict, answer=answer, seeds_to_decide=needed)


def _beyond(estimate: Estimate, border: float, side: int) -> bool:
    """Whether both intervals lie wholly above (side 1) or below (side -1) the border."""
    intervals: tuple[Interval | None, ...] = (estimate.interval, estimate.t_interval)
    ends = [None if found is None else (found.low if side > 0 else found.high) for found in intervals]
    return all(end is not None and (end - border) * side > 0 for end in ends)


def _without_loss(setting: Setting) -> Setting:
    others = tuple(pair for pair in setting.others if pair[0] not in (LOSS, ALPHA, TEMPERATURE))
    return setting._replace(others=others)


def _why_not_tested(sample: Sample, claim: Claim) -> str | None:
    if not _outcomes(sample, claim):
        if claim.outcomes == ("attention_iou_teachers",):
            return "no completed trial has attention_iou_teachers, which needs an ensemble_size of 2 or more"
        names = ", ".join(f"{name}*" if name.endswith("_") else name for name in claim.outcomes)
        return f"no completed trial has {names}"
    if not _moved(sample, claim):
        whose = " of the teachers" if STUDENT in sample.dimensions and STUDENT not in claim.moved else ""
        return f"the study has one augmentation strength{whose}"
    return None if any(_questions(sample, claim)) else "every student learned from labels alone"


def _why_no_arms(sample: Sample) -> str:
    losses = {recipe.taught_by for recipe in sample.recipes.values()}
    pure = any(recipe.loss == "mse_logits" and recipe.alpha == 0 for recipe in sample.recipes.values())
    if not losses - {None}:
        return "the tables do not say which loss the trials had"
    if "kl" in losses and pure:
        return "no kl trial has the same strength, ensemble size and other fields as an mse_logits trial with alpha 0"
    arm = "distillation.loss kl" if pure else "distillation.loss mse_logits and distillation.alpha 0"
    return f"no trial has {arm}; run such trials beside these, with equal other fields"

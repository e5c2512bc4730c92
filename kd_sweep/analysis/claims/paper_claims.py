"""The claims of the paper (arXiv 2405.00739), and what of a study each can be judged by."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from kd_sweep.analysis.comparisons import Pair
from kd_sweep.analysis.sample import Sample
from kd_sweep.analysis.trial_settings import (
    ALPHA,
    BOTH,
    LOSS,
    NO_ARM,
    NO_TEACHING,
    STRENGTH,
    STUDENT,
    TEMPERATURE,
    Arm,
    Setting,
    is_of_teachers,
)
from kd_sweep.study.metric_catalogue import REPORTED_METRICS

Direction = Literal[-1, 1]

LOGITS_MATCHING = "logits matching hardly raises fidelity"
FIDELITIES = ("fidelity_train", "fidelity_val", "fidelity_val_augmented")
SHUFFLED = "_shuffled"
OVERLAP, IOU = "attention_overlap_teachers", "attention_iou_teachers"
GAPS = ("generalization_gap", "generalization_gap_augmented")
SPLIT_FIDELITIES = {
    "fidelity_ensemble_right_val": "where the ensemble is right",
    "fidelity_ensemble_wrong_together_val": "where its members err together",
    "fidelity_ensemble_wrong_apart_val": "where they err apart",
}
"""The parts of `fidelity_val`, and the images of each in words."""


@dataclass(frozen=True)
class Claim:
    """Stronger augmentation moves these outcomes in this direction."""

    name: str
    outcomes: tuple[str, ...]
    """Reported metrics; one ending in an underscore stands for every metric that begins so."""
    direction: Direction
    moved: tuple[str, ...] = (STRENGTH, STUDENT)
    """Whose strengths the claim is about, where teachers and student have their own; where they are equal it is about
    both."""
    needs_teaching: bool = False
    """It is about what a student takes over from its teachers."""
    measure: Callable[[float], float] = float
    """What is taken of an outcome: its size, where the claim is about that."""
    is_first_enough: bool = False
    """Whether later outcomes are judged only where no trial has the first."""

    @property
    def is_of_size(self) -> bool:
        """Whether the claim is about an outcome's size, whatever its sign."""
        return self.measure is abs


CLAIMS = (
    Claim(
        "stronger augmentation lowers the teachers' attention IoU",
        (OVERLAP, IOU),
        -1,
        (STRENGTH,),
        is_first_enough=True,
    ),
    Claim(
        "stronger augmentation narrows the generalization gap",
        GAPS,
        -1,
        measure=abs,
    ),
    Claim("stronger augmentation lowers fidelity", FIDELITIES, -1, needs_teaching=True),
    Claim("stronger augmentation lowers mutual information", ("mutual_information_",), -1, needs_teaching=True),
    Claim("stronger augmentation raises the student's accuracy", ("val_accuracy",), 1),
)
"""With the overlap where it is known: two regions of one size also meet by chance."""
MATCHING = Claim(LOGITS_MATCHING, FIDELITIES, -1)


@dataclass(frozen=True)
class Question:
    """One claim by one outcome, one moved strength and one arm of the study."""

    claim: Claim
    outcome: str | None
    """None where the study cannot answer at all."""
    varied: str | None = None
    """The dimension that moved, or the field `distillation_loss`."""
    arm: Arm = NO_ARM
    settings: tuple[Setting, ...] = ()
    """Without those of students that the claim cannot be about."""
    reason: str | None = None
    """Why the study cannot answer it."""
    mediator: str | None = None
    """The outcome that this one goes together with, or by which strength moves it."""


def claimed_outcomes() -> tuple[str, ...]:
    """Return every metric that a claim can be judged by."""
    known = [*REPORTED_METRICS]
    claimed = [
        name for claim in (*CLAIMS, MATCHING) for pattern in claim.outcomes for name in _matching(known, pattern)
    ]
    return tuple(dict.fromkeys(claimed))


def questions(sample: Sample) -> Iterator[Question]:
    """Yield what is judged apart, of `CLAIMS` in their order; one with a reason where a claim cannot be tested."""
    for claim in CLAIMS:
        answerable = list(_questions(sample, claim))
        yield from answerable or [Question(claim, None, reason=_why_not_tested(sample, claim))]


def loss_arms(sample: Sample) -> list[Pair]:
    """Return (setting with kl, setting with mse_logits and alpha 0) of equal strengths, size and other fields.

    The weight alpha and the temperature belong to the loss: they may differ.
    """
    kl: dict[Setting, list[Setting]] = {}
    for setting, recipe in sample.recipes.items():
        if recipe.taught_by == "kl" and recipe.control is None:
            kl.setdefault(_without_loss(setting), []).append(setting)
    return [
        (first, setting)
        for setting, recipe in sample.recipes.items()
        if recipe.loss == "mse_logits" and recipe.alpha == 0 and recipe.control is None
        for first in kl.get(_without_loss(setting), [])
    ]


def matching_questions(sample: Sample) -> Iterator[Question]:
    """Yield what is judged of logits matching: each fidelity."""
    if not loss_arms(sample):
        yield Question(MATCHING, None, reason=_why_no_arms(sample))
        return
    for outcome in FIDELITIES:
        if outcome in sample.outcomes:
            yield Question(MATCHING, outcome, LOSS)


def is_selected_by(sample: Sample, outcome: str) -> bool:
    """Whether which trials were completed depended on what they came to, in this outcome or in one that goes with it.

    A student's metrics all go with its accuracy and its loss. What is about the teachers alone is known of stopped
    trials as well.
    """
    return sample.selected_by_outcome is not None and not is_of_teachers(outcome)


def _outcomes(sample: Sample, claim: Claim) -> list[str]:
    outcomes = [outcome for name in claim.outcomes for outcome in _matching(sample.outcomes, name)]
    return outcomes[:1] if claim.is_first_enough else outcomes


def _matching(outcomes: Sequence[str], name: str) -> list[str]:
    """Return the outcome of a name, or those that begin so, if it ends in an underscore."""
    if not name.endswith("_"):
        return [name] if name in outcomes else []
    # The shuffled one is the bias to compare with, and the paper code's own variants are not what is claimed.
    return [one for one in outcomes if one.startswith(name) and not one.endswith((SHUFFLED, "_rethinkkd"))]


def _moved(sample: Sample, claim: Claim) -> list[str]:
    """Return the strengths that the claim is about and that the study varied."""
    is_apart = STUDENT in sample.dimensions
    names = [*claim.moved, BOTH] if is_apart else [STRENGTH]
    return [name for name in names if len(sample.levels(name)) > 1]


def _questions(sample: Sample, claim: Claim) -> Iterator[Question]:
    for outcome in _outcomes(sample, claim):
        for varied in _moved(sample, claim):
            needs_teaching = claim.needs_teaching or (varied == STRENGTH and STUDENT in sample.dimensions)
            for arm, settings in sample.arms(outcome).items():
                is_about = arm.control is None and not (arm.loss == NO_TEACHING and needs_teaching)
                if is_about and varied in sample.dimensions_of(settings):
                    levels = sample.levels(varied, settings)
                    name = STRENGTH if varied == BOTH else varied
                    reason = None if len(levels) > 1 else f"all of its trials have {name} {levels[0]:g}"
                    yield Question(claim, outcome, varied, arm, tuple(settings), reason)


def _without_loss(setting: Setting) -> Setting:
    others = tuple(pair for pair in setting.others if pair[0] not in (LOSS, ALPHA, TEMPERATURE))
    return setting._replace(others=others)


def _why_not_tested(sample: Sample, claim: Claim) -> str:
    if not _outcomes(sample, claim):
        if IOU in claim.outcomes:
            return f"no completed trial has {IOU}, which needs an ensemble_size of 2 or more"
        names = ", ".join(f"{name}*" if name.endswith("_") else name for name in claim.outcomes)
        return f"no completed trial has {names}"
    if not _moved(sample, claim):
        whose = " of the teachers" if STUDENT in sample.dimensions and STUDENT not in claim.moved else ""
        return f"the study has one augmentation strength{whose}"
    if any(recipe.control for recipe in sample.recipes.values()):
        return "every student learned from labels alone, or had teachers that know nothing"
    return "every student learned from labels alone"


def _why_no_arms(sample: Sample) -> str:
    losses = {recipe.taught_by for recipe in sample.recipes.values()}
    pure = any(recipe.loss == "mse_logits" and recipe.alpha == 0 for recipe in sample.recipes.values())
    if not losses - {None}:
        return "the tables do not say which loss the trials had"
    if "kl" in losses and pure:
        return "no kl trial has the same strength, ensemble size and other fields as an mse_logits trial with alpha 0"
    arm = "distillation.loss kl" if pure else "distillation.loss mse_logits and distillation.alpha 0"
    return f"no trial has {arm}; run such trials beside these, with equal other fields"

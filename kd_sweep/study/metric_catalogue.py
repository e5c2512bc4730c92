"""The metrics that a trial reports at the end of every epoch: the one list of them.

From it follow the columns of the tables, the checks of values, which objectives a study can have, what the analysis
takes for outcomes, and the table in docs/metrics.md.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from kd_sweep.study.attention_metrics import CHANCE, attention_lists, attention_metrics
from kd_sweep.study.metric_record import (
    DIFFERENCE_OF_SHARES,
    INFORMATION,
    NOT_NEGATIVE,
    OF_A_LOSS,
    SHARE,
    About,
    Metric,
    Null,
    Split,
)

METRICS_VERSION = 4
"""Of the definitions below; in every row. Raised when the same model and data would give another number, or numbers
that rows before do not have."""

CALIBRATION_BINS = 15
"""Of equal width, of confidence: those of `ece` and of the reliability lists."""

TRAIN: tuple[Split, ...] = ("train",)
VAL: tuple[Split, ...] = ("val",)
VAL_AUGMENTED: tuple[Split, ...] = ("val_augmented",)
BOTH: About = "student and teachers"

_ARXIV = "[arXiv {0}](https://arxiv.org/abs/{0})"
_BELOW = "See [below](#_rethinkkd)."


def _accuracies() -> Iterator[Metric]:
    yield Metric(
        "train_loss",
        "Mean distillation loss over the images of the training stream. Depends on `distillation`, so it compares only "
        "between trials with the same.",
        OF_A_LOSS, "loss", TRAIN, "student", "min",
    )  # fmt: skip
    yield Metric("train_accuracy", "Top-1 accuracy on the training stream.", SHARE, "share", TRAIN, "student", "max")
    yield Metric(
        "val_loss", "Mean cross-entropy with the label on `val`: the negative log likelihood.",
        NOT_NEGATIVE, "nats", VAL, "student", "min",
    )  # fmt: skip
    yield Metric("val_accuracy", "Top-1 accuracy on `val`.", SHARE, "share", VAL, "student", "max")
    yield Metric(
        "val_top5_accuracy",
        "Share of `val` whose label is among the five highest scores; 1 with five classes or fewer.",
        SHARE, "share", VAL, "student", "max",
    )  # fmt: skip
    yield Metric(
        "val_augmented_accuracy", "Top-1 accuracy on `val_augmented`.", SHARE, "share", VAL_AUGMENTED, "student", "max"
    )
    yield Metric(
        "generalization_gap",
        "`train_accuracy` − `val_accuracy`. Negative where the training stream is harder than clean images, as at high "
        "strength.",
        DIFFERENCE_OF_SHARES, "share", TRAIN + VAL, "student", difference_of=("train_accuracy", "val_accuracy"),
    )  # fmt: skip
    yield Metric(
        "generalization_gap_augmented",
        "`train_accuracy` − `val_augmented_accuracy`: the same against images as hard as the training stream, so that "
        "it does not narrow by the stream getting harder alone.",
        DIFFERENCE_OF_SHARES, "share", TRAIN + VAL_AUGMENTED, "student",
        difference_of=("train_accuracy", "val_augmented_accuracy"),
    )  # fmt: skip


def _agreement() -> Iterator[Metric]:
    def fidelity(name: str, meaning: str, splits: tuple[Split, ...]) -> Metric:
        return Metric(name, meaning, SHARE, "share", splits, BOTH, "max")

    def kl(name: str, meaning: str, splits: tuple[Split, ...]) -> Metric:
        return Metric(name, meaning, NOT_NEGATIVE, "nats", splits, BOTH, "min")

    yield fidelity(
        "fidelity_train",
        "Top-1 agreement: share of the training stream where argmax(student) = argmax(ensemble) "
        f"({_ARXIV.format('2106.05945')}, equation 4).",
        TRAIN,
    )
    yield fidelity("fidelity_val", "The same on `val`.", VAL)
    yield fidelity("fidelity_val_augmented", "The same on `val_augmented`.", VAL_AUGMENTED)
    yield fidelity(
        "fidelity_macro_val",
        "Fidelity among the images of each class of `val`, mean over the classes: rare classes count as much as "
        "frequent ones.",
        VAL,
    )
    yield fidelity("fidelity_worst_class_val", "The same of the class where it is lowest.", VAL)
    yield from (replace(metric, null=(Null.NO_SUCH_IMAGE,)) for metric in _by_what_the_ensemble_does(fidelity))
    yield kl(
        "predictive_kl_train",
        "Mean over the training stream of KL(ensemble ‖ student) at temperature 1 (the same paper, equation 5).",
        TRAIN,
    )
    yield kl("predictive_kl_val", "The same on `val`.", VAL)
    yield kl("predictive_kl_val_augmented", "The same on `val_augmented`.", VAL_AUGMENTED)
    yield kl("predictive_kl_reverse_val", "KL the other way: mean over `val` of KL(student ‖ ensemble).", VAL)


def _by_what_the_ensemble_does(fidelity: Callable[[str, str, tuple[Split, ...]], Metric]) -> Iterator[Metric]:
    yield fidelity(
        "fidelity_ensemble_right_val", "Fidelity among the images of `val` on which the ensemble is right.", VAL
    )
    wrong = fidelity(
        "fidelity_ensemble_wrong_val",
        "The same where it errs. With `ensemble_accuracy` *a*, `fidelity_val` is *a* times the one above and (1 − *a*) "
        "times this one.",
        VAL,
    )
    # To copy an error is faithful, and no aim.
    yield replace(wrong, better=None)
    together = "The same where it errs and all its members answer the same class: they err together."
    yield replace(wrong, name="fidelity_ensemble_wrong_together_val", meaning=together)
    apart = "The same where it errs and its members answer different classes: they err apart."
    yield replace(wrong, name="fidelity_ensemble_wrong_apart_val", meaning=apart)


def _information() -> Iterator[Metric]:
    meanings = {
        "train": (
            "Mutual information of the student's and the ensemble's top-1 classes over the training stream: the "
            "plug-in estimate from the counts of their pairs.",
            "Its mean over all permutations of the student's images, exactly ([Vinh et al. "
            "2010](https://jmlr.org/papers/v11/vinh10a.html), as in adjusted mutual information): what two networks "
            "with these class frequencies and nothing in common would show. The estimate is biased upwards: by this "
            "much for networks that have nothing in common, by less the more they agree, and by more the fewer images "
            "a class has.",
        ),
        "val": ("Mutual information on `val`.", "Its mean over shuffled images."),
        "val_augmented": ("Mutual information on `val_augmented`.", "Its mean over shuffled images."),
    }
    for splits in (TRAIN, VAL, VAL_AUGMENTED):
        name = f"mutual_information_{splits[0]}"
        meaning, shuffled = meanings[splits[0]]
        yield Metric(name, meaning, INFORMATION, "nats", splits, BOTH, "max")
        yield Metric(f"{name}_shuffled", shuffled, INFORMATION, "nats", splits, BOTH, kind="chance")


def _uncertainty_and_teachers() -> Iterator[Metric]:
    entropy = "Mean predictive entropy of the student on `val`."
    yield Metric("entropy_student", entropy, INFORMATION, "nats", VAL, "student")
    yield Metric("entropy_teachers", "The same of the ensemble.", INFORMATION, "nats", VAL, "ensemble")
    yield Metric(
        "ece",
        "Expected calibration error of the student on `val`: 15 equal-width bins of confidence, weighted by count "
        f"({_ARXIV.format('1706.04599')}, equation 5).",
        SHARE, "share", VAL, "student", "min",
    )  # fmt: skip
    yield Metric("ece_teachers", "The same of the ensemble.", SHARE, "share", VAL, "ensemble", "min")
    members = "Top-1 accuracy on `val` of the members, mean."
    yield Metric("teacher_accuracy", members, SHARE, "share", VAL, "teachers", "max")
    yield Metric(
        "ensemble_accuracy", "Top-1 accuracy on `val` of the ensemble.", SHARE, "share", VAL, "ensemble", "max"
    )
    yield Metric(
        "ensemble_wrong_together",
        "Share of `val` on which the ensemble errs and all its members answer the same class. On the rest of "
        "1 − `ensemble_accuracy` it errs and they answer different ones.",
        SHARE, "share", VAL, "ensemble",
    )  # fmt: skip
    yield Metric(
        "diversity_teachers",
        "Disagreement: share of `val` on which two teachers differ in their top-1 class, mean over pairs.",
        SHARE, "share", VAL, "teachers", null=(Null.ONE_TEACHER,),
    )  # fmt: skip
    yield Metric(
        "diversity",
        "Training loss of member 1 in its last epoch over that of the same teacher trained without augmentation: how "
        f"much harder the augmentation makes the images to learn ({_ARXIV.format('2002.08973')}).",
        NOT_NEGATIVE, "ratio", TRAIN, "teachers", null=(Null.CONTROL,), asked_by="affinity",
    )  # fmt: skip
    yield Metric(
        "affinity",
        "Top-1 accuracy on `val_augmented` (of the first epoch) over that on `val`, of member 1 trained without "
        f"augmentation: how far the augmentation leads away from the clean images ({_ARXIV.format('2002.08973')}); the "
        "measured counterpart of `augmentation_strength`.",
        NOT_NEGATIVE, "ratio", VAL_AUGMENTED + VAL, "teachers", null=(Null.CONTROL,), asked_by="affinity",
    )  # fmt: skip


def _paper_code() -> Iterator[Metric]:
    """Yield the variants of the code of arXiv 2405.00739, which `metrics.paper_code` computes."""
    shapes: tuple[tuple[str, Metric], ...] = (
        ("fidelity_{}_rethinkkd", Metric("", _BELOW, SHARE, "share", (), BOTH, "max", kind="paper code")),
        ("predictive_kl_{}_rethinkkd", Metric("", _BELOW, NOT_NEGATIVE, "nats", (), BOTH, "min", kind="paper code")),
        (
            "mutual_information_{}_rethinkkd",
            Metric("", _BELOW, INFORMATION, "nats", (), BOTH, "max", kind="paper code"),
        ),
        ("entropy_student_{}_rethinkkd", Metric("", _BELOW, INFORMATION, "nats", (), "student", kind="paper code")),
    )
    for name, shape in shapes:
        yield replace(shape, name=name.format("train"), splits=TRAIN)
        yield replace(shape, name=name.format("val_augmented"), splits=VAL_AUGMENTED, null=(Null.NO_FULL_BATCH,))
    yield Metric("ece_train_rethinkkd", _BELOW, SHARE, "share", TRAIN, "student", "min", kind="paper code")
    teachers = Metric(
        "attention_iou_teachers_rethinkkd", _BELOW, SHARE, "share", VAL, "teachers",
        null=(Null.ONE_TEACHER,), of_attention=True, kind="paper code",
    )  # fmt: skip
    yield teachers
    yield replace(
        teachers,
        name=f"{teachers.name}{CHANCE}",
        meaning="The same of regions that are paired with those of other images.",
        null=(Null.ONE_TEACHER, Null.NO_OTHER_IMAGE),
        kind="chance",
    )


def _lists() -> Iterator[Metric]:
    yield Metric(
        "fidelity_per_class_val",
        "A list, in `epochs` alone: fidelity among the images of each class of `val`, in the order of the labels; null "
        "for a class without images.",
        SHARE, "share", VAL, BOTH, asked_by="per_class", is_list=True,
    )  # fmt: skip
    yield from attention_lists()
    yield Metric(
        "agreement_teachers",
        "A list, in `epochs` alone: top-1 agreement on `val` of each pair of members, in the order (1, 2), (1, 3), …, "
        "(2, 3), …. The mean of 1 − agreement is `diversity_teachers`.",
        SHARE, "share", VAL, "teachers", null=(Null.ONE_TEACHER, Null.MANY_TEACHERS), is_list=True,
    )  # fmt: skip
    yield Metric(
        "agreement_student",
        "A list, in `epochs` alone: top-1 agreement on `val` of the student and each member, member 1 first.",
        SHARE, "share", VAL, BOTH, null=(Null.MANY_TEACHERS,), is_list=True,
    )  # fmt: skip
    whom: tuple[tuple[str, About, str], ...] = (("student", "student", "student"), ("teachers", "ensemble", "ensemble"))
    for who, about, words in whom:
        yield Metric(
            f"reliability_count_{who}",
            f"A list, in `epochs` alone: images of `val` in each of the {CALIBRATION_BINS} bins of the {words}'s "
            "confidence, from 0 to 1.",
            NOT_NEGATIVE, "images", VAL, about, is_list=True,
        )  # fmt: skip
        yield Metric(
            f"reliability_confidence_{who}",
            f"A list, in `epochs` alone: mean confidence in each bin of `reliability_count_{who}`; null for an empty "
            "one.",
            SHARE, "share", VAL, about, is_list=True,
        )  # fmt: skip
        yield Metric(
            f"reliability_accuracy_{who}",
            f"A list, in `epochs` alone: top-1 accuracy likewise. The {words}'s expected calibration error is the mean "
            "distance of the two, weighted by the counts.",
            SHARE, "share", VAL, about, is_list=True,
        )  # fmt: skip


METRICS = (
    *_accuracies(),
    *_agreement(),
    *_information(),
    *attention_metrics(),
    *_uncertainty_and_teachers(),
    *_paper_code(),
    *_lists(),
)
"""Every metric, in the order of the tables' columns."""

REPORTED_METRICS = {metric.name: metric for metric in METRICS if not metric.is_list}
"""Those that are a number, by name: what can be an objective, and what the `trials` table has."""

LIST_METRICS = tuple(metric.name for metric in METRICS if metric.is_list)
"""Those that are a list, as with a value for each class: in the `epochs` table alone."""

DIFFERENCES = {metric.name: metric.difference_of for metric in METRICS if metric.difference_of}
"""Metric -> the two whose difference it is, the second taken from the first."""


def differences(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of `DIFFERENCES` of which ``values`` has both parts."""
    parts = {name: (values.get(first), values.get(second)) for name, (first, second) in DIFFERENCES.items()}
    return {name: of[0] - of[1] for name, of in parts.items() if of[0] is not None and of[1] is not None}


HEADLINE_METRICS = (
    *("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_augmented_accuracy"),
    *("generalization_gap", "generalization_gap_augmented"),
    *("fidelity_train", "fidelity_val", "fidelity_val_augmented"),
    *("predictive_kl_train", "predictive_kl_val", "mutual_information_val"),
    *("attention_iou_student", "attention_overlap_student", "attention_rank_correlation_student"),
    *("entropy_student", "ece"),
)
"""Those of the student that people follow epoch by epoch: exports have every epoch of them unless asked for more."""


def null_where(reason: Null) -> frozenset[str]:
    """Return the names of the reported metrics that are null for this reason."""
    return frozenset(name for name, metric in REPORTED_METRICS.items() if reason in metric.null)

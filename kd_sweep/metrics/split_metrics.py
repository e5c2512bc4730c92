"""The reported metrics of one split, from the outputs of the networks on its images.

The keys are those of `kd_sweep.study.metric_catalogue.REPORTED_METRICS`. `train_loss` is the training loop's own, and
the generalization gaps are differences of two others.

Shapes: N images, B images of a batch, K of them, C classes, M teachers, P pairs of networks, R ways to pair images, S
kinds of regions.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor

from kd_sweep.attention.compared_maps import KINDS, ComparedMaps, Overlaps
from kd_sweep.attention.regions import above_chance, attention_area
from kd_sweep.metrics import paper_code
from kd_sweep.metrics.calibration import expected_calibration_error, reliability
from kd_sweep.metrics.information import expected_mutual_information, mutual_information
from kd_sweep.metrics.predictions import (
    accuracy,
    agreement,
    agreement_among,
    agreement_per_class,
    ensemble_log_probabilities,
    errs_together,
    negative_log_likelihood,
    pairwise_agreement,
    pairwise_disagreement,
    predictive_entropy,
    predictive_kl,
    reverse_predictive_kl,
    top_1,
    top_k_accuracy,
)
from kd_sweep.study.attention_metrics import CHANCE, CORRECT

_IOU = "attention_iou_"
_RANKS = "attention_rank_correlation_"

Lists = dict[str, Sequence[float | None] | None]
"""The metrics that are lists, by name."""

MAX_LISTED_MEMBERS = 16
"""Pairs of more members would make rows of `epochs` long."""


def stream_metrics(
    student_logits_NC: Tensor, ensemble_log_NC: Tensor, labels_N: Tensor, split: str
) -> dict[str, float]:
    """Return `{split}_accuracy` and the fidelity metrics for split `train`, `val` or `val_augmented`.

    All of them are means over images, so those of a whole split are the means of its parts'.

    Args:
        student_logits_NC: the student's.
        ensemble_log_NC: the ensemble's log-probabilities, of `metrics.predictions.ensemble_log_probabilities`.
        labels_N: the labels.
        split: which.
    """
    return {
        f"{split}_accuracy": accuracy(student_logits_NC, labels_N),
        f"fidelity_{split}": agreement(student_logits_NC, ensemble_log_NC),
        f"predictive_kl_{split}": predictive_kl(ensemble_log_NC[None], student_logits_NC),
    }


def information_metrics(student_predicted_N: Tensor, ensemble_predicted_N: Tensor, split: str) -> dict[str, float]:
    """Return `mutual_information_{split}` and its mean over shuffled images, from the top-1 classes."""
    name = f"mutual_information_{split}"
    return {
        name: mutual_information(student_predicted_N, ensemble_predicted_N),
        f"{name}_shuffled": expected_mutual_information(student_predicted_N, ensemble_predicted_N),
    }


def rethinkkd_metrics(student_logits_NC: Tensor, teacher_logits_MNC: Tensor, split: str) -> dict[str, float]:
    """Return the `…_{split}_rethinkkd` metrics, but for the calibration error: means over batches.

    Args:
        student_logits_NC: the student's, of a whole number of batches or of a part of one.
        teacher_logits_MNC: its teachers'.
        split: `train` or `val_augmented`.
    """
    student_NC, teacher_MNC = student_logits_NC, teacher_logits_MNC
    # Full batches weigh the same, so their mean is that over the images; only mutual information needs them apart.
    whole = len(student_NC)
    return {
        f"fidelity_{split}_rethinkkd": paper_code.fidelity_rethinkkd(student_NC, teacher_MNC, whole),
        f"predictive_kl_{split}_rethinkkd": paper_code.predictive_kl_rethinkkd(student_NC, teacher_MNC, whole),
        f"mutual_information_{split}_rethinkkd": paper_code.mutual_information_rethinkkd(student_NC, teacher_MNC),
        f"entropy_student_{split}_rethinkkd": paper_code.entropy_rethinkkd(student_NC, whole),
    }


def val_metrics(student_logits_NC: Tensor, teacher_logits_MNC: Tensor, labels_N: Tensor) -> dict[str, float | None]:
    """Return the metrics of the student on clean validation images, but for its attention."""
    ensemble_log_NC = ensemble_log_probabilities(teacher_logits_MNC)
    per_class = agreement_per_class(student_logits_NC, ensemble_log_NC, labels_N)
    of_classes = [share for share in per_class if share is not None]
    return {
        "val_loss": negative_log_likelihood(student_logits_NC, labels_N),
        "val_top5_accuracy": top_k_accuracy(student_logits_NC, labels_N, 5),
        **stream_metrics(student_logits_NC, ensemble_log_NC, labels_N, "val"),
        "fidelity_macro_val": sum(of_classes) / len(of_classes),
        "fidelity_worst_class_val": min(of_classes),
        **_fidelity_by_ensemble(student_logits_NC, teacher_logits_MNC, ensemble_log_NC, labels_N),
        "predictive_kl_reverse_val": reverse_predictive_kl(ensemble_log_NC[None], student_logits_NC),
        **information_metrics(top_1(student_logits_NC), top_1(ensemble_log_NC), "val"),
        "entropy_student": predictive_entropy(student_logits_NC),
        "ece": expected_calibration_error(student_logits_NC, labels_N),
    }


def _fidelity_by_ensemble(
    student_NC: Tensor, teacher_MNC: Tensor, ensemble_log_NC: Tensor, labels_N: Tensor
) -> dict[str, float | None]:
    """Return fidelity where the ensemble is right, errs, errs with all members alike, and errs with members apart."""
    wrong_N = top_1(ensemble_log_NC) != labels_N
    together_N = errs_together(teacher_MNC, ensemble_log_NC, labels_N)
    among = {
        "right": ~wrong_N,
        "wrong": wrong_N,
        "wrong_together": together_N,
        "wrong_apart": wrong_N & ~together_N,
    }
    return {
        f"fidelity_ensemble_{which}_val": agreement_among(student_NC, ensemble_log_NC, among_N)
        for which, among_N in among.items()
    }


def student_lists(student_logits_NC: Tensor, teacher_logits_MNC: Tensor, labels_N: Tensor) -> Lists:
    """Return the metrics that are lists, of the student on clean validation images, but for those by class."""
    members = [agreement(student_logits_NC, logits_NC) for logits_NC in teacher_logits_MNC]
    return {
        "agreement_student": members if len(members) <= MAX_LISTED_MEMBERS else None,
        **_reliability_lists(student_logits_NC, labels_N, "student"),
    }


def teacher_lists(teacher_logits_MNC: Tensor, labels_N: Tensor) -> Lists:
    """Return the metrics that are lists, of the teachers on clean validation images."""
    has_pairs = 1 < len(teacher_logits_MNC) <= MAX_LISTED_MEMBERS
    return {
        "agreement_teachers": pairwise_agreement(teacher_logits_MNC) if has_pairs else None,
        **_reliability_lists(ensemble_log_probabilities(teacher_logits_MNC), labels_N, "teachers"),
    }


def _reliability_lists(logits_NC: Tensor, labels_N: Tensor, who: str) -> Lists:
    bins = reliability(logits_NC, labels_N)
    return {
        f"reliability_count_{who}": bins.num_images,
        f"reliability_confidence_{who}": bins.confidence,
        f"reliability_accuracy_{who}": bins.accuracy,
    }


def teacher_metrics(teacher_logits_MNC: Tensor, labels_N: Tensor) -> dict[str, float | None]:
    """Return the metrics of the teachers alone on clean validation images, but for their attention."""
    ensemble_log_NC = ensemble_log_probabilities(teacher_logits_MNC)
    members = [accuracy(logits_NC, labels_N) for logits_NC in teacher_logits_MNC]
    return {
        "entropy_teachers": predictive_entropy(ensemble_log_NC),
        "ece_teachers": expected_calibration_error(ensemble_log_NC, labels_N),
        "teacher_accuracy": sum(members) / len(members),
        "ensemble_accuracy": accuracy(ensemble_log_NC, labels_N),
        "ensemble_wrong_together": float(errs_together(teacher_logits_MNC, ensemble_log_NC, labels_N).double().mean()),
        "diversity_teachers": pairwise_disagreement(teacher_logits_MNC),
    }


def teacher_attention_metrics(teachers_RMB: ComparedMaps) -> list[dict[str, float]]:
    """Return how large teachers' regions are on clean validation images, and how far those of two overlap.

    There is an entry for each of the R ways to pair images. All values are means over a batch, which is a multiple of
    `metrics.paper_code.BATCH_SIZE`, unless it is the last.
    """
    entries = _overlap_metrics(Overlaps.of_pairs(teachers_RMB), "teachers")
    for way, entry in enumerate(entries):
        regions_MB = teachers_RMB.regions[0, way]
        entry["attention_area_teachers"] = attention_area(regions_MB)
        pooled = paper_code.attention_iou_rethinkkd(regions_MB)
        if pooled is not None:
            entry["attention_iou_teachers_rethinkkd"] = pooled
    return entries


def student_attention_metrics(student_B: ComparedMaps, overlaps: Overlaps) -> list[dict[str, float]]:
    """Return how large the student's regions are and how far they overlap its teachers'; means over a batch.

    There is an entry for each of the R ways to pair images.
    """
    area = attention_area(student_B.regions[0])
    return [{**entry, "attention_area_student": area} for entry in _overlap_metrics(overlaps, "student")]


def correct_attention_metrics(overlaps: Overlaps, correct_K: Tensor) -> list[dict[str, float]]:
    """Return how far the student's regions overlap its teachers', of the images that both classify right; their mean.

    There is an entry for each of the R ways to pair images.
    """
    means_R = _means_over_images(overlaps.iou_SRPB[0].index_select(-1, correct_K))
    return [{f"{_IOU}student{CORRECT}": mean} for mean in means_R]


def _overlap_metrics(overlaps: Overlaps, who: str) -> list[dict[str, float]]:
    """Return the means over pairs and images; nothing where there is no pair."""
    num_ways, num_pairs, _ = overlaps.ranks_RPB.shape
    if not num_pairs:
        return [{} for _ in range(num_ways)]
    columns = {f"{_IOU}{who}{kind}": iou for kind, iou in zip(KINDS, overlaps.iou_SRPB, strict=True)}
    columns[f"{_RANKS}{who}"] = overlaps.ranks_RPB
    means = {name: _means_over_images(values_RPB) for name, values_RPB in columns.items()}
    return [{name: of_name[way] for name, of_name in means.items()} for way in range(num_ways)]


def _means_over_images(values_RPB: Tensor) -> list[float]:
    means: list[float] = values_RPB.flatten(-2).mean(-1).tolist()
    return means


def chance_metrics(overlap: Mapping[str, float], apart: Mapping[str, float]) -> dict[str, float | None]:
    """Return the chance level of every IoU and rank correlation, and `attention_overlap_…`, how far an IoU is above.

    Args:
        overlap: of `teacher_attention_metrics` or `student_attention_metrics`.
        apart: the same of maps that are paired with those of other images; empty where there are none.
    """
    values: dict[str, float | None] = {}
    for name, iou in overlap.items():
        if name.startswith(_RANKS):
            values[f"{name}{CHANCE}"] = apart.get(name)
        if name.startswith(_IOU):
            chance = values[f"{name}{CHANCE}"] = apart.get(name)
            if not name.endswith("_rethinkkd"):
                values[name.replace(_IOU, "attention_overlap_")] = above_chance(iou, chance)
    return values

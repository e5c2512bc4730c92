"""Names of columns in words, as axes and legends have them."""

from collections.abc import Sequence
from typing import Any

from kd_sweep.study.metric_catalogue import REPORTED_METRICS

_WORDS = {
    "augmentation_strength": "Augmentation strength",
    "student_strength": "Augmentation strength of the student",
    "both_strengths": "Augmentation strength of teachers and student",
    "ensemble_size": "Teachers in the ensemble",
    "val_accuracy": "Validation accuracy",
    "train_accuracy": "Training accuracy",
    "val_top5_accuracy": "Top-5 validation accuracy",
    "val_augmented_accuracy": "Accuracy, augmented validation",
    "generalization_gap": "Generalization gap",
    "generalization_gap_augmented": "Generalization gap, augmented",
    "fidelity_train": "Training fidelity",
    "fidelity_val": "Validation fidelity",
    "fidelity_val_augmented": "Fidelity, augmented validation",
    "fidelity_ensemble_right_val": "Fidelity, ensemble right",
    "fidelity_ensemble_wrong_val": "Fidelity, ensemble errs",
    "fidelity_ensemble_wrong_together_val": "Fidelity, err together",
    "fidelity_ensemble_wrong_apart_val": "Fidelity, err apart",
    "attention_iou_teachers": "Attention IoU, teachers",
    "attention_iou_student": "Attention IoU, student",
    "attention_overlap_teachers": "Attention overlap, teachers",
    "attention_overlap_student": "Attention overlap, student",
    "mutual_information_train": "Mutual information, training",
    "mutual_information_val": "Mutual information, validation",
    "mutual_information_val_augmented": "Mutual information, augmented",
    "diversity_teachers": "Disagreement of teachers",
    "teacher_accuracy": "Accuracy of single teachers",
    "ensemble_accuracy": "Accuracy of the ensemble",
    "ece": "Expected calibration error",
    "ece_teachers": "Calibration error of the ensemble",
    "train_s": "Training time",
    "epoch_s": "Time of an epoch",
    "train_images_per_s": "Training images per second",
}
_SHORT = {"augmentation_strength": "strength", "student_strength": "student strength"}
_SAID = {
    ("distillation_loss", "none"): "labels alone",
    ("distillation_teacher_control", "none"): "trained teachers",
    ("distillation_ensemble_epochs", "each"): "epochs each",
    ("distillation_ensemble_epochs", "shared"): "shared epochs",
}
_USUAL = {
    ("distillation_teacher_control", "none"),
    ("distillation_teacher_view", "consistent"),
    ("distillation_ensemble_epochs", "each"),
}
_UNITS = {"nats": "nats", "train_s": "s", "epoch_s": "s"}


def words(column: str) -> str:
    """Return a column's name as words that begin a label: `val_loss` is `Val loss`."""
    plain = _WORDS.get(column, column.replace("_", " "))
    return plain[:1].upper() + plain[1:]


def in_a_sentence(column: str) -> str:
    """Return the words of a column within a sentence."""
    plain = words(column)
    return plain if plain[:2].isupper() else plain[:1].lower() + plain[1:]


def axis_label(column: str) -> str:
    """Return the label of an axis: the words, and the unit where there is one."""
    metric = REPORTED_METRICS.get(column)
    unit = _UNITS.get(column) or (_UNITS.get(metric.unit) if metric else None)
    return f"{words(column)} ({unit})" if unit else words(column)


def value_label(column: str, value: Any) -> str:
    """Return one value of a searched field for a legend: `3 teachers`, `strength 0.5`, `random weights`."""
    if value is None:
        return f"no {in_a_sentence(column)}"
    if (column, value) in _SAID:
        return _SAID[column, value]
    if column == "ensemble_size":
        return f"{value} teacher{'' if value == 1 else 's'}"
    text = f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
    if column in ("distillation_loss", "distillation_teacher_control"):
        return text
    if column == "distillation_teacher_view":
        return f"{text} view"
    name = _SHORT.get(column) or in_a_sentence(column).removeprefix("distillation ")
    return f"{name} {text}"


def setting_label(columns: Sequence[str], values: Sequence[Any]) -> str:
    """Return the values of several searched fields for a legend or a title: `kl, random weights, student strength 1`.

    A field that the setting lacks is left out, and so is what an arm of distillation is without being told.
    """
    given = [
        (column, value)
        for column, value in zip(columns, values, strict=True)
        if value is not None and (column, value) not in _USUAL
    ]
    pairs = given or list(zip(columns, values, strict=True))[:1]
    return ", ".join(value_label(column, value) for column, value in pairs)

"""The metrics that a trial reports at the end of every epoch: name, and what it means.

This is the one list of them. Result tables, schedulers, objectives and the documentation all read it.
"""

REPORTED_METRICS: dict[str, str] = {
    "train_loss": "mean distillation loss over the epoch's training stream",
    "train_accuracy": "top-1 accuracy on the training stream, as seen while training",
    "val_loss": "mean cross-entropy on clean validation images, in nats (the negative log likelihood)",
    "val_accuracy": "top-1 accuracy on clean validation images",
    "val_top5_accuracy": "top-5 accuracy on clean validation images",
    "val_augmented_accuracy": "top-1 accuracy on validation images seen through the trial's own augmentation stream",
    "generalization_gap": "train_accuracy - val_accuracy",
    "fidelity_train": "share of training-stream images where student and ensemble agree on the top-1 class",
    "fidelity_val": "the same on clean validation images",
    "fidelity_val_augmented": "the same on augmented validation images",
    "predictive_kl_train": "mean KL(ensemble || student) at temperature 1 on the training stream, in nats",
    "predictive_kl_val": "the same on clean validation images",
    "predictive_kl_val_augmented": "the same on augmented validation images",
    "attention_iou_teachers": "IoU of the teachers' binarised attention maps, mean over validation images and pairs",
    "attention_iou_student": "IoU of the student's and each teacher's map, mean over validation images and teachers",
    "entropy_student": "mean predictive entropy of the student on clean validation images, in nats",
    "entropy_teachers": "mean predictive entropy of the ensemble on clean validation images, in nats",
    "ece": "count-weighted expected calibration error on clean validation images, 15 equal-width bins",
    "teacher_accuracy": "mean top-1 accuracy of the ensemble's members on clean validation images",
    "ensemble_accuracy": "top-1 accuracy of the members' mean probabilities on clean validation images",
}

NULL_FOR_ONE_TEACHER = frozenset({"attention_iou_teachers"})
"""Metrics that compare teachers with each other: null, not NaN, where the ensemble has one member."""

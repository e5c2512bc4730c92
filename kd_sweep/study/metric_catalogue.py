"""The metrics that a trial reports at the end of every epoch: name, and what it means.

This is the one list of them. Result tables, schedulers, objectives and the documentation all read it.
"""

METRICS_VERSION = 2
"""Of the definitions below; in every row. Raised when the same model and data would give another number."""

REPORTED_METRICS: dict[str, str] = {
    "train_loss": "mean distillation loss over the epoch's training stream",
    "train_accuracy": "top-1 accuracy on the training stream, as seen while training",
    "val_loss": "mean cross-entropy on clean validation images, in nats (the negative log likelihood)",
    "val_accuracy": "top-1 accuracy on clean validation images",
    "val_top5_accuracy": "top-5 accuracy on clean validation images",
    "val_augmented_accuracy": "top-1 accuracy on validation images seen through the trial's own augmentation stream",
    "generalization_gap": "train_accuracy - val_accuracy",
    "generalization_gap_augmented": "train_accuracy - val_augmented_accuracy",
    "fidelity_train": "share of training-stream images where student and ensemble agree on the top-1 class",
    "fidelity_val": "the same on clean validation images",
    "fidelity_val_augmented": "the same on augmented validation images",
    "fidelity_macro_val": "fidelity among the clean validation images of each class, mean over classes",
    "fidelity_worst_class_val": "the same of the class where it is lowest",
    "predictive_kl_train": "mean KL(ensemble || student) at temperature 1 on the training stream, in nats",
    "predictive_kl_val": "the same on clean validation images",
    "predictive_kl_val_augmented": "the same on augmented validation images",
    "predictive_kl_reverse_val": "mean KL(student || ensemble) at temperature 1 on clean validation images, in nats",
    "mutual_information_train": "mutual information of student's and ensemble's top-1 classes, training stream, nats",
    "mutual_information_train_shuffled": "its mean over all permutations of the images of one: if unrelated",
    "mutual_information_val": "mutual information on clean validation images, in nats",
    "mutual_information_val_shuffled": "its mean over all permutations of the images of one",
    "mutual_information_val_augmented": "mutual information on augmented validation images, in nats",
    "mutual_information_val_augmented_shuffled": "its mean over all permutations of the images of one",
    "attention_iou_teachers": "IoU of the teachers' binarised attention maps, mean over validation images and pairs",
    "attention_iou_teachers_at_25": "the same at threshold 0.25 instead of metrics.cam_threshold",
    "attention_iou_teachers_at_50": "the same at threshold 0.5",
    "attention_iou_teachers_at_75": "the same at threshold 0.75",
    "attention_iou_teachers_chance": "attention_iou_teachers of regions that are paired with those of other images",
    "attention_iou_teachers_at_25_chance": "the same at threshold 0.25",
    "attention_iou_teachers_at_50_chance": "the same at threshold 0.5",
    "attention_iou_teachers_at_75_chance": "the same at threshold 0.75",
    "attention_overlap_teachers": "how far attention_iou_teachers is above chance: (IoU - chance) / (1 - chance)",
    "attention_overlap_teachers_at_25": "the same at threshold 0.25",
    "attention_overlap_teachers_at_50": "the same at threshold 0.5",
    "attention_overlap_teachers_at_75": "the same at threshold 0.75",
    "attention_iou_student": "IoU of the student's and each teacher's map, mean over validation images and teachers",
    "attention_iou_student_at_25": "the same at threshold 0.25 instead of metrics.cam_threshold",
    "attention_iou_student_at_50": "the same at threshold 0.5",
    "attention_iou_student_at_75": "the same at threshold 0.75",
    "attention_iou_student_chance": "attention_iou_student of regions that are paired with those of other images",
    "attention_iou_student_at_25_chance": "the same at threshold 0.25",
    "attention_iou_student_at_50_chance": "the same at threshold 0.5",
    "attention_iou_student_at_75_chance": "the same at threshold 0.75",
    "attention_overlap_student": "how far attention_iou_student is above chance: (IoU - chance) / (1 - chance)",
    "attention_overlap_student_at_25": "the same at threshold 0.25",
    "attention_overlap_student_at_50": "the same at threshold 0.5",
    "attention_overlap_student_at_75": "the same at threshold 0.75",
    "attention_area_teachers": "share of the image that a teacher's region covers, mean over images and teachers",
    "attention_area_student": "the same of the student's region",
    "entropy_student": "mean predictive entropy of the student on clean validation images, in nats",
    "entropy_teachers": "mean predictive entropy of the ensemble on clean validation images, in nats",
    "ece": "count-weighted expected calibration error on clean validation images, 15 equal-width bins",
    "ece_teachers": "the same of the ensemble",
    "teacher_accuracy": "mean top-1 accuracy of the ensemble's members on clean validation images",
    "ensemble_accuracy": "top-1 accuracy of the members' mean probabilities on clean validation images",
    "diversity_teachers": "share of clean validation images where two teachers differ in top-1, mean over pairs",
    "diversity": "training loss of member 1 over that of the same teacher trained on clean images",
    "affinity": "accuracy on augmented over that on clean validation images, of a teacher trained on clean images",
    "fidelity_train_rethinkkd": "fidelity to the members' mean logits on the training stream, mean over batches of 128",
    "fidelity_val_augmented_rethinkkd": "the same on augmented validation images, without a last smaller batch",
    "predictive_kl_train_rethinkkd": "10 KL(student || softmax of the mean logits), mean over training batches, nats",
    "predictive_kl_val_augmented_rethinkkd": "the same on augmented validation images",
    "mutual_information_train_rethinkkd": "mutual information within a training batch of 128, mean over batches, nats",
    "mutual_information_val_augmented_rethinkkd": "the same on augmented validation images",
    "entropy_student_train_rethinkkd": "predictive entropy of the student, mean over training batches of 128, in nats",
    "entropy_student_val_augmented_rethinkkd": "the same on augmented validation images",
    "ece_train_rethinkkd": "gap of accuracy and confidence on the training stream, 10 bins that all weigh the same",
    "attention_iou_teachers_rethinkkd": "pixels in all teachers' regions over pixels in any, pooled over 128 images",
    "attention_iou_teachers_rethinkkd_chance": "the same of regions that are paired with those of other images",
}

IOU_THRESHOLDS = {"at_25": 0.25, "at_50": 0.5, "at_75": 0.75}
"""Suffix of an attention metric -> threshold of its regions, beside `metrics.cam_threshold`, which has no suffix."""

CHANCE = "_chance"
"""Suffix of the value that a metric has for regions of different images."""

ABOUT_TEACHERS = frozenset(name for name in REPORTED_METRICS if "teachers" in name) | {
    *("teacher_accuracy", "ensemble_accuracy", "affinity", "diversity")
}
"""Metrics of the teachers alone, whatever the student does."""

NULL_FOR_ONE_TEACHER = frozenset(
    {
        "diversity_teachers",
        *(
            name
            for name in REPORTED_METRICS
            if name.startswith(("attention_iou_teachers", "attention_overlap_teachers"))
        ),
    }
)
"""Metrics that compare teachers with each other: null, not NaN, where the ensemble has one member."""

NULL_WITHOUT_CHANCE = frozenset(
    name for name in REPORTED_METRICS if name.endswith(CHANCE) or name.startswith("attention_overlap_")
)
"""Null where there are too few validation images to pair them with others, and, of the overlaps, where chance is 1."""

NULL_BELOW_ONE_BATCH = frozenset(name for name in REPORTED_METRICS if name.endswith("_val_augmented_rethinkkd"))
"""Null with fewer than 128 validation images: the paper's code leaves out a batch that is not full."""

NULL_UNLESS_ASKED = {"affinity": "affinity", "diversity": "affinity"}
"""Metrics that are null unless a field of `metrics` is true -> that field."""

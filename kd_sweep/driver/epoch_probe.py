"""The time that an epoch takes, from training a little."""

import operator
from collections.abc import Mapping
from typing import Any

from kd_sweep.data.contents import ImageCounts, count_images
from kd_sweep.distill.checkpoints import Row
from kd_sweep.distill.teachers import ensure_teacher
from kd_sweep.distill.trial import trial_epochs
from kd_sweep.storage.temporary_folders import scratch_folder
from kd_sweep.study.section_digests import section_json
from kd_sweep.study.trial import TrialConfig

PROBE_IMAGES = 640
PROBE_EPOCHS = 2
"""The first one also pays for warming up, so the last one counts."""


def seconds_per_epoch(
    trial: TrialConfig, *, device: str = "auto", num_threads: int | None = None
) -> tuple[float, float]:
    """Return about how many seconds one epoch of one teacher, and one of the student, takes on this machine.

    Of teachers that differ it is the mean, each counted as often as it has epochs.

    Trains on a part of the images in a temporary folder, no others are decoded, and scales training and evaluation each
    by its number of images.

    Args:
        trial: an example of what a study runs.
        device: as for `trial_epochs`.
        num_threads: as for `trial_epochs`.

    Raises:
        DataError: the dataset cannot be read.
        NonFiniteError: the recipe diverges.
    """
    whole = count_images(trial.data)
    part = _part(whole)
    probe = _shortened(trial, part)
    with scratch_folder("probe") as root:
        seconds: dict[str, float] = {}
        for teacher in probe.teachers:
            recipe = section_json(teacher.learner)
            if recipe not in seconds:
                rows: list[Row] = []
                ensure_teacher(teacher, root, device=device, num_threads=num_threads, on_epoch=rows.append)
                seconds[recipe] = rows[-1]["epoch_s"] if rows else 0.0  # of its training alone
        student_rows = list(trial_epochs(probe, root=root, checkpoint_dir=None, device=device, num_threads=num_threads))
    epochs = [teacher.epochs for teacher in trial.teachers]
    of_members = [seconds[section_json(teacher.learner)] for teacher in probe.teachers]
    teacher_s = sum(map(operator.mul, of_members, epochs)) / max(1, sum(epochs))
    return teacher_s * whole.train / part.train, _whole_epoch_s(student_rows[-1], part, whole)


def _part(whole: ImageCounts) -> ImageCounts:
    """Return how many images are trained on: at least one of each class, or `load_dataset` refuses."""
    return ImageCounts(
        train=min(whole.train, max(PROBE_IMAGES, whole.classes)),
        val=min(whole.val, PROBE_IMAGES),
        classes=whole.classes,
    )


def _shortened(trial: TrialConfig, part: ImageCounts) -> TrialConfig:
    few = trial.data.model_copy(update={"max_train_images": part.train, "max_val_images": max(2, part.val)})
    short = {"epochs": PROBE_EPOCHS, "schedule": "constant", "warmup_epochs": 0.0}
    return trial.with_learners(short).model_copy(update={"data": few})


def _whole_epoch_s(row: Mapping[str, Any], part: ImageCounts, whole: ImageCounts) -> float:
    train_s: float = part.train / row["train_images_per_s"]
    evaluation_s: float = max(0.0, row["epoch_s"] - train_s)
    return train_s * whole.train / part.train + evaluation_s * whole.val / part.val

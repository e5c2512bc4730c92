"""How long an epoch takes, from training a little."""

from pathlib import Path
from tempfile import TemporaryDirectory

from kd_sweep.distill.memory import resident_dataset
from kd_sweep.distill.teachers import ensure_teacher
from kd_sweep.distill.trial import trial_epochs
from kd_sweep.study.trial import TrialConfig

PROBE_IMAGES = 640
PROBE_EPOCHS = 2
"""The first one also pays for warming up, so the last one counts."""


def seconds_per_epoch(
    trial: TrialConfig, *, device: str = "auto", num_threads: int | None = None
) -> tuple[float, float]:
    """Return about how many seconds one epoch of one teacher, and one of the student, takes on this machine.

    Trains on a part of the images in a temporary folder and scales by their number.

    Args:
        trial: an example of what a study runs.
        device: as for `trial_epochs`.
        num_threads: as for `trial_epochs`.

    Raises:
        DataError: the dataset cannot be read.
        NonFiniteError: the recipe diverges.
    """
    with TemporaryDirectory(prefix="kd-sweep-probe-") as folder:
        root = Path(folder)
        dataset = resident_dataset(trial.data, root)
        share = min(1.0, PROBE_IMAGES / len(dataset.train.labels_N))
        few = trial.data.model_copy(
            update={
                "max_train_images": max(2 * dataset.num_classes, int(share * len(dataset.train.labels_N))),
                "max_val_images": max(2 * dataset.num_classes, int(share * len(dataset.val.labels_N))),
            }
        )
        short = {"epochs": PROBE_EPOCHS, "schedule": "constant", "warmup_epochs": 0.0}
        probe = trial.model_copy(
            update={
                "data": few,
                "teacher": trial.teacher.model_copy(update=short),
                "student": trial.student.model_copy(update=short),
            }
        )
        teacher_rows: list[float] = []
        ensure_teacher(
            probe.teachers[0],
            root,
            device=device,
            num_threads=num_threads,
            on_epoch=lambda row: teacher_rows.append(row["epoch_s"]),
        )
        student_rows = [
            row["epoch_s"]
            for row in trial_epochs(probe, root=root, checkpoint_dir=None, device=device, num_threads=num_threads)
        ]
    return teacher_rows[-1] / share, student_rows[-1] / share

"""One trial: teachers, a student that learns from them, and a row of metrics after every epoch. No cluster is needed.

A row has `epoch` (from 1), `metrics_version`, every key of `study.metric_catalogue.REPORTED_METRICS` (a finite float,
or None where the metric has no meaning), `fidelity_per_class_val` (a list, or None), `learning_rate` (of the epoch's
last step), `epoch_s` (training and evaluation), `train_images_per_s` (training alone).
"""

from collections.abc import Callable, Iterator
from typing import Any

from kd_sweep.distill.checkpoints import Row
from kd_sweep.distill.students.lock_step import LockStepGroup
from kd_sweep.storage.root import Location
from kd_sweep.study.spec import Objective
from kd_sweep.study.trial import TrialConfig


def run_trial(config: TrialConfig, on_epoch: Callable[[Row], None], **options: Any) -> None:
    """Run a trial to its end and call ``on_epoch`` with the row of every epoch. Options are those of `trial_epochs`."""
    for row in trial_epochs(config, **options):
        on_epoch(row)


def trial_epochs(
    config: TrialConfig,
    *,
    root: Location,
    checkpoint_dir: Location | None,
    device: str = "auto",
    num_threads: int | None = None,
    cache_logits: bool = True,
    best_by: Objective | None = None,
) -> Iterator[Row]:
    """Train and evaluate a trial epoch by epoch; missing teachers are trained first.

    It goes on after the newest checkpoint, whose epochs are not yielded again: `checkpoints.read_history` has their
    rows. A damaged checkpoint is set aside and the trial starts anew. On a CPU, rows are equal bit for bit for equal
    ``num_threads``, however often a trial was interrupted.

    Args:
        config: the trial.
        root: the results root, where teachers and cached logits lie.
        checkpoint_dir: the trial's own folder; nothing is kept when None.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, …
        num_threads: of the CPU; as many as now when None.
        cache_logits: keep the teachers' outputs for other trials.
        best_by: keep the checkpoint of the epoch that is best by this, too.

    Yields:
        The row of each epoch, after its checkpoint is on disk.

    Raises:
        NonFiniteError: a loss or a metric became NaN or infinite; the message names epoch, and batch or metric.
    """
    group = LockStepGroup(config.stream, root=root, device=device, num_threads=num_threads, cache_logits=cache_logits)
    group.join(config, checkpoint_dir, best_by)
    while group.trial_ids:
        outcome = group.run_epoch()[config.trial_id]
        if isinstance(outcome, Exception):
            raise outcome
        yield outcome

"""One trial: teachers, a student that learns from them, and a row of metrics after every epoch. No cluster is needed.

A row has `epoch` (from 1), `metrics_version`, every key of `study.metric_catalogue.REPORTED_METRICS` (a finite float,
or None where the metric has no meaning), `fidelity_per_class_val` (a list, or None), `learning_rate` (of the epoch's
last step), `epoch_s` (training and evaluation), `train_images_per_s` (training alone).

Shapes: B batch, C classes, M teachers.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from kd_sweep.augmentation.stream import AugmentationStream, Batch
from kd_sweep.distill.checkpoints import Row, TrialCheckpoints
from kd_sweep.distill.compute import epoch_randomness, reproducible, resolve_device, to_device
from kd_sweep.distill.distillation_loss import distillation_loss
from kd_sweep.distill.ensembles.ensemble import Ensemble
from kd_sweep.distill.ensembles.epoch_answers import EnsembleEpoch
from kd_sweep.distill.evaluation import evaluate
from kd_sweep.distill.optimizers import build_optimizer, learning_rate_at
from kd_sweep.distill.stream_meter import StreamMeter
from kd_sweep.distill.teacher_logits import LogitCache
from kd_sweep.distill.training import TrainedEpoch, steps_of, train_epoch
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.networks.classifiers import initial_model
from kd_sweep.storage.root import Location, Root
from kd_sweep.study.metric_catalogue import METRICS_VERSION
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
    with reproducible(num_threads):
        checkpoints = _checkpoints(config, checkpoint_dir, best_by)
        training = _StudentTraining(config, root, checkpoints, device, num_threads, cache_logits)
        training.begin()
    while training.epoch < config.student.epochs:
        with reproducible(num_threads):
            row = training.run_epoch()
        yield row


def _checkpoints(config: TrialConfig, folder: Location | None, best_by: Objective | None) -> TrialCheckpoints | None:
    return None if folder is None else TrialCheckpoints(Root.open(folder), config.trial_id, best_by)


class _StudentTraining:
    """A student between two epochs."""

    def __init__(
        self,
        config: TrialConfig,
        root: Location,
        checkpoints: TrialCheckpoints | None,
        device: str,
        num_threads: int | None,
        cache_logits: bool,
    ) -> None:
        self._config = config
        self._device = resolve_device(device)
        self._dataset = resident_dataset(config.data, root)
        self._stream = AugmentationStream(config.stream, self._dataset, self._device)
        self._student = to_device(initial_model(config.student, self._dataset, config.init_seed), self._device)
        self._optimizer = build_optimizer(self._student, config.student)
        self._checkpoints = checkpoints
        self._history: list[Row] = []
        self._ensemble = Ensemble(
            config,
            self._stream,
            LogitCache(root, enabled=cache_logits),
            root=root,
            device=self._device,
            num_threads=num_threads,
        )

    @property
    def epoch(self) -> int:
        return len(self._history)

    def begin(self) -> None:
        """Go on from the newest checkpoint; train missing teachers where an epoch is left."""
        if self._checkpoints is not None:
            self._history = self._checkpoints.restore(self._student, self._optimizer, self._ensemble.drifting_models)
        if self.epoch < self._config.student.epochs:
            self._ensemble.ensure_trained()

    def run_epoch(self) -> Row:
        epoch = self.epoch + 1
        started = time.perf_counter()
        answers = self._ensemble.epoch(epoch)
        with epoch_randomness(self._config.init_seed, epoch, self._device):
            trained, on_train = self._train(epoch, answers)
        metrics = evaluate(
            self._student,
            trained.loss,
            on_train,
            epoch,
            self._stream,
            self._ensemble,
            answers,
            self._config.metrics,
        )
        row = {
            "epoch": epoch,
            "metrics_version": METRICS_VERSION,
            **metrics,
            "learning_rate": trained.learning_rate,
            "epoch_s": time.perf_counter() - started,
            "train_images_per_s": trained.num_images / trained.train_s,
        }
        self._history.append(row)
        if self._checkpoints is not None:
            self._checkpoints.save(self._history, self._student, self._optimizer, self._ensemble.drifting_models)
        return row

    def _train(self, epoch: int, answers: EnsembleEpoch) -> tuple[TrainedEpoch, dict[str, float]]:
        learner, distillation, steps = self._config.student, self._config.distillation, self._stream.num_batches

        meter = StreamMeter("train")

        def batch_loss(logits_BC: Tensor, batch: Batch) -> Tensor:
            teacher_logits_MBC = answers.train_logits(batch)
            meter.add(logits_BC, teacher_logits_MBC, batch.labels_B)
            return distillation_loss(
                logits_BC, teacher_logits_MBC, batch.labels_B, distillation, learner.label_smoothing, batch.partners
            )

        with steps_of(student=learner, distillation=distillation):
            trained = train_epoch(
                self._student,
                self._optimizer,
                self._stream.batches(epoch),
                batch_loss,
                lambda step: learning_rate_at((epoch - 1) * steps + step, steps, learner),
                epoch,
                learner.precision,
            )
        return trained, meter.metrics()

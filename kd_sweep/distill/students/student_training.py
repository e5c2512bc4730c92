"""The training of one student, epoch by epoch and batch by batch.

Shapes: B batch, C classes, M teachers.
"""

import time

import torch
from torch import Tensor

from kd_sweep.augmentation.stream import AugmentationStream, Batch
from kd_sweep.distill.checkpoints import Row, TrialCheckpoints
from kd_sweep.distill.compute import EpochRandomness, to_device
from kd_sweep.distill.distillation_loss import distillation_loss
from kd_sweep.distill.ensembles.ensemble import Ensemble
from kd_sweep.distill.ensembles.shared_epoch import SharedEpoch
from kd_sweep.distill.evaluation import evaluate
from kd_sweep.distill.optimizers import build_optimizer, learning_rate_at
from kd_sweep.distill.stream_meter import StreamMeter
from kd_sweep.distill.students.randomised_student import randomised_metrics
from kd_sweep.distill.teacher_logits import LogitCache
from kd_sweep.distill.training import EpochTraining, StepsOf
from kd_sweep.networks.classifiers import initial_model
from kd_sweep.storage.root import Location
from kd_sweep.study.metric_catalogue import METRICS_VERSION
from kd_sweep.study.trial import TrialConfig


class StudentTraining:
    """A student between two epochs: its weights, optimiser, history and checkpoint.

    Args:
        config: its trial.
        stream: its images; other students may see them too.
        checkpoints: where it is kept; None keeps nothing.
        root: the results root.
        device: where it learns.
        num_threads: for training a teacher that is missing.
        cache_logits: keep the teachers' outputs for other trials.
    """

    def __init__(
        self,
        config: TrialConfig,
        stream: AugmentationStream,
        checkpoints: TrialCheckpoints | None,
        *,
        root: Location,
        device: torch.device,
        num_threads: int | None,
        cache_logits: bool,
    ) -> None:
        self.config, self.stream, self.device = config, stream, device
        self.network = to_device(initial_model(config.student, stream.dataset, config.init_seed), device)
        self.optimizer = build_optimizer(self.network, config.student)
        self.ensemble = Ensemble(
            config,
            stream,
            LogitCache(root, enabled=cache_logits),
            root=root,
            device=device,
            num_threads=num_threads,
        )
        self._checkpoints = checkpoints
        self._history: list[Row] = []

    @property
    def history(self) -> list[Row]:
        """The rows of the epochs that are behind it."""
        return list(self._history)

    @property
    def epochs_done(self) -> int:
        """How many epochs are behind it."""
        return len(self._history)

    @property
    def is_done(self) -> bool:
        """Whether no epoch is left."""
        return self.epochs_done >= self.config.student.epochs

    def begin(self) -> None:
        """Go on from the newest checkpoint; train missing teachers where an epoch is left."""
        if self._checkpoints is not None:
            self._history = self._checkpoints.restore(self.network, self.optimizer, self.ensemble.drifting_models)
        if not self.is_done:
            self.ensemble.ensure_trained()

    def keep(self, row: Row) -> None:
        """Add the row of an epoch, and save the checkpoint after it."""
        self._history.append(row)
        if self._checkpoints is not None:
            self._checkpoints.save(self._history, self.network, self.optimizer, self.ensemble.drifting_models)


class StudentEpoch:
    """The next epoch of a student: `step` on each batch of its stream, then `end_steps`, then `evaluate`.

    Args:
        student: whose.
        shared: what other students of the stream ask for in this epoch, too.
    """

    def __init__(self, student: StudentTraining, shared: SharedEpoch) -> None:
        config, num_batches = student.config, student.stream.num_batches
        learner, distillation = config.student, config.distillation
        self._student = student
        self._epoch = epoch = student.epochs_done + 1
        self._answers = answers = student.ensemble.epoch(epoch, shared)
        self._meter = meter = StreamMeter("train")
        self._randomness = EpochRandomness(config.init_seed, epoch, student.device)
        self._named = StepsOf(student=learner, distillation=distillation)

        # No method: that would be a circle of references, in which a GPU's memory stays until Python looks for them.
        def batch_loss(logits_BC: Tensor, batch: Batch) -> Tensor:
            teacher_logits_MBC = answers.train_logits(batch)
            meter.add(logits_BC, teacher_logits_MBC, batch.labels_B)
            return distillation_loss(
                logits_BC, teacher_logits_MBC, batch.labels_B, distillation, learner.label_smoothing, batch.partners
            )

        self._training = EpochTraining(
            student.network,
            student.optimizer,
            batch_loss,
            lambda step: learning_rate_at((epoch - 1) * num_batches + step, num_batches, learner),
            epoch,
            learner.precision,
        )

    def step(self, batch: Batch) -> None:
        """Learn from the next batch."""
        with self._randomness, self._named:
            self._training.step(batch)

    def end_steps(self) -> None:
        """End the training. The device has done its work then."""
        with self._named:
            self._trained = self._training.end()

    def evaluate(self, train_s: float, before_s: float) -> Row:
        """Return the row of the epoch, after its checkpoint is on disk.

        Args:
            train_s: seconds of the training.
            before_s: seconds of the epoch up to now.
        """
        started = time.perf_counter()
        student, trained = self._student, self._trained
        is_last = self._epoch == student.config.student.epochs
        metrics = evaluate(
            student.network,
            trained.loss,
            self._meter.metrics(),
            self._epoch,
            student.stream,
            student.ensemble,
            self._answers,
            student.config.metrics,
            randomised_metrics(student.network, student.config, student.stream) if is_last else {},
        )
        row = {
            "epoch": self._epoch,
            "metrics_version": METRICS_VERSION,
            **metrics,
            "learning_rate": trained.learning_rate,
            "epoch_s": before_s + time.perf_counter() - started,
            "train_images_per_s": trained.num_images / train_s,
        }
        student.keep(row)
        return row

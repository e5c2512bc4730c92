"""One epoch of training, for teachers and students alike.

Shapes: B batch, C classes.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kd_sweep.catalogue.plugins import RAISED, described, origin
from kd_sweep.catalogue.selecting_section import SelectingSection
from kd_sweep.distill.compute import forward
from kd_sweep.distill.optimizers import set_learning_rate
from kd_sweep.errors import KdSweepError, NonFiniteError, TrialError
from kd_sweep.study.recipe import Precision

if TYPE_CHECKING:
    from kd_sweep.augmentation.stream import Batch

BatchLoss = Callable[[Tensor, "Batch"], Tensor]
"""``(logits_BC, batch) -> scalar loss``."""

_BATCHES_BETWEEN_CHECKS = 64


@dataclasses.dataclass(frozen=True)
class TrainedEpoch:
    """One epoch of training."""

    loss: float
    """Mean over the epoch's images."""
    num_images: int
    learning_rate: float
    """Of the last step."""


class StepsOf:
    """Names the plug-ins' entries whose work is done in the block, where a loss is NaN or a backward pass raises.

    Args:
        selected: what selects the entries, by its section: ``student`` for example.
    """

    def __init__(self, **selected: SelectingSection) -> None:
        chosen = selected.items()
        self._named = [f"{section}.{of.selector} {getattr(of, of.selector)!r}" for section, of in chosen if of.source]

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        if not self._named:
            return
        entries = " and ".join(self._named)
        if isinstance(error, NonFiniteError):
            raise NonFiniteError(f"{error}, with {entries}") from error
        if isinstance(error, RAISED) and not isinstance(error, KdSweepError) and origin(error) is not None:
            raise TrialError(f"a step with {entries} raised {described(error)}") from error


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable["Batch"],
    batch_loss: BatchLoss,
    learning_rate: Callable[[int], float],
    epoch: int,
    precision: Precision = "float32",
) -> TrainedEpoch:
    """Train ``model`` on every batch of an epoch, on the model's device: `EpochTraining` from its beginning to its end.

    Raises:
        NonFiniteError: the loss of a batch is NaN or infinite.
    """
    training = EpochTraining(model, optimizer, batch_loss, learning_rate, epoch, precision)
    for batch in batches:
        training.step(batch)
    return training.end()


class EpochTraining:
    """One epoch of a network's training, a step at a time: other networks may learn from the same batch in between.

    Args:
        model: left in training mode.
        optimizer: over the model's parameters.
        batch_loss: what is minimised; it sees the logits of training mode, each before the step on its own batch.
        learning_rate: of each step in this epoch, counted from 0.
        epoch: named in errors.
        precision: of the forward passes; see `compute.forward`.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        batch_loss: BatchLoss,
        learning_rate: Callable[[int], float],
        epoch: int,
        precision: Precision = "float32",
    ) -> None:
        model.train()
        self._model, self._optimizer, self._precision = model, optimizer, precision
        self._batch_loss, self._learning_rate = batch_loss, learning_rate
        self._watch = _LossWatch(epoch)
        self._num_steps = 0

    def step(self, batch: "Batch") -> None:
        """Learn from the next batch, on the model's device.

        Raises:
            NonFiniteError: the loss of a batch is NaN or infinite. On a CPU the weights are as before that batch; on a
                GPU, where reading a value stops the queue of kernels, it is noticed up to 64 batches later.
        """
        set_learning_rate(self._optimizer, self._learning_rate(self._num_steps))
        # A copy: networks may change their input, and others learn from the batch too.
        logits_BC = forward(self._model, batch.images_BDHW.clone(), self._precision)
        loss = self._batch_loss(logits_BC, batch)
        self._watch.add(loss.detach(), len(batch.labels_B))
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._num_steps += 1

    def end(self) -> TrainedEpoch:
        """Return what the epoch was; raise `NonFiniteError` as `step` does. The device has done its work then."""
        return TrainedEpoch(self._watch.mean(), self._watch.num_images, self._learning_rate(self._num_steps - 1))


class _LossWatch:
    """Sums losses and checks that they are finite, without waiting for a GPU at every batch."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch
        self._pending: list[Tensor] = []
        self._values: list[float] = []
        self._sizes: list[int] = []

    def add(self, loss: Tensor, num_images: int) -> None:
        self._pending.append(loss)
        self._sizes.append(num_images)
        if loss.device.type == "cpu" or len(self._pending) >= _BATCHES_BETWEEN_CHECKS:
            self._check()

    @property
    def num_images(self) -> int:
        return sum(self._sizes)

    def mean(self) -> float:
        self._check()
        total = math.fsum(value * size for value, size in zip(self._values, self._sizes, strict=True))
        return total / self.num_images

    def _check(self) -> None:
        values = torch.stack(self._pending).tolist() if self._pending else []
        self._pending.clear()
        for value in values:
            self._values.append(value)
            if not math.isfinite(value):
                raise NonFiniteError(f"the training loss is {value} in epoch {self._epoch}, batch {len(self._values)}")

"""One epoch of training, for teachers and students alike.

Shapes: B batch, C classes.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
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
    train_s: float


@contextmanager
def steps_of(**selected: SelectingSection) -> Iterator[None]:
    """Name the plug-ins' entries whose work is done in the block, where a loss is NaN or a backward pass raises.

    Args:
        selected: what selects the entries, by its section: ``student`` for example.
    """
    named = [f"{section}.{of.selector} {getattr(of, of.selector)!r}" for section, of in selected.items() if of.source]
    try:
        yield
    except NonFiniteError as error:
        if not named:
            raise
        raise NonFiniteError(f"{error}, with {' and '.join(named)}") from error
    except RAISED as error:
        if isinstance(error, KdSweepError) or not named or origin(error) is None:
            raise
        raise TrialError(f"a step with {' and '.join(named)} raised {described(error)}") from error


def train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable["Batch"],
    batch_loss: BatchLoss,
    learning_rate: Callable[[int], float],
    epoch: int,
    precision: Precision = "float32",
) -> TrainedEpoch:
    """Train ``model`` on every batch, one step each.

    Args:
        model: left in training mode.
        optimizer: over the model's parameters.
        batches: one epoch's stream, on the model's device.
        batch_loss: what is minimised; it sees the logits of training mode, each before the step on its own batch.
        learning_rate: of each step in this epoch, counted from 0.
        epoch: named in errors.
        precision: of the forward passes; see `compute.forward`.

    Raises:
        NonFiniteError: the loss of a batch is NaN or infinite. On a CPU the weights are as before that batch; on a
            GPU, where reading a value stops the queue of kernels, it is noticed up to 64 batches later.
    """
    model.train()
    started = time.perf_counter()
    watch = _LossWatch(epoch)
    step = -1
    for step, batch in enumerate(batches):
        set_learning_rate(optimizer, learning_rate(step))
        logits_BC = forward(model, batch.images_BDHW, precision)
        loss = batch_loss(logits_BC, batch)
        watch.add(loss.detach(), len(batch.labels_B))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return TrainedEpoch(watch.mean(), watch.num_images, learning_rate(step), time.perf_counter() - started)


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

"""Networks that do what those of plug-ins may do, which students in lock step must not feel of each other."""

from typing import ClassVar
from weakref import WeakSet

import torch
from torch import nn

import kd_sweep


class Small(nn.Module):
    """A network with dropout."""

    def __init__(self, num_classes, channels, *_):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1), nn.ReLU(), nn.Dropout2d(0.3))
        self.classifier = nn.Linear(8, num_classes)

    def forward(self, images_BDHW):
        return self.classifier(self.features(images_BDHW).mean((2, 3)))


class Unruly(Small):
    """One that draws random numbers, and changes the images that it is given."""

    def forward(self, images_BDHW):
        if self.training:
            images_BDHW.mul_(1.5).add_(torch.rand(()))
        return super().forward(images_BDHW)


class Raises(Small):
    """One that raises in its second epoch, after a few batches."""

    calls = 0

    def forward(self, images_BDHW):
        if self.training:
            self.calls += 1
            if self.calls == 10:
                raise KeyError("told to")
        return super().forward(images_BDHW)


class Large(Small):
    """One of which no more than `most` have memory at the same time."""

    alive: ClassVar[WeakSet[nn.Module]] = WeakSet()
    most: ClassVar[int] = 2

    def __init__(self, *arguments):
        super().__init__(*arguments)
        Large.alive.add(self)

    def forward(self, images_BDHW):
        if self.training and len(Large.alive) > Large.most:
            raise torch.OutOfMemoryError("no memory is left")
        return super().forward(images_BDHW)


def register_all():
    """Register them as `tests:NAME`."""
    for network in (Small, Unruly, Raises, Large):
        kd_sweep.network(network.__name__.lower())(network)

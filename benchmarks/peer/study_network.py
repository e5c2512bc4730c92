"""A small residual network for both sides of a comparison, which counts the images that frozen teachers see."""

import os
from pathlib import Path

from pydantic import Field
from torch import Tensor, nn

import kd_sweep

COUNTS = "KD_SWEEP_COUNTED_PASSES"
"""The variable that names the folder of counts: a file for each process, a line for each forward pass."""


class Size(kd_sweep.Parameters):
    """The parameters of the network."""

    channels: int = Field(8, ge=1)
    """Of the first stage; each of the two others has twice as many as the one before."""


class CountedConvolution(nn.Conv2d):
    """The first layer: of a frozen network in evaluation mode it notes how many images come."""

    def forward(self, images_BDHW: Tensor) -> Tensor:
        if not self.training and not self.weight.requires_grad and (folder := os.environ.get(COUNTS)):
            with (Path(folder) / str(os.getpid())).open("a") as counts:
                counts.write(f"{len(images_BDHW)}\n")
        return super().forward(images_BDHW)


class Block(nn.Module):
    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(before, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Conv2d(before, channels, 1, stride, bias=False)

    def forward(self, features_BDHW: Tensor) -> Tensor:
        return (self.path(features_BDHW) + self.shortcut(features_BDHW)).relu()


@kd_sweep.network("residual", parameters=Size, version="1")
def residual(num_classes: int, channels: int, image_size: int, parameters: Size) -> nn.Module:  # noqa: ARG001  kd_sweep names them
    width = parameters.channels
    return nn.Sequential(
        CountedConvolution(channels, width, 3, 1, 1, bias=False),
        Block(width, width, 1),
        Block(width, 2 * width, 2),
        Block(2 * width, 4 * width, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, num_classes),
    )

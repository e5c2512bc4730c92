"""A small convolutional network whose depth and width a study file selects."""

from pydantic import Field
from torch import nn

import kd_sweep


class SmallNet(kd_sweep.Parameters):
    """The parameters of the network; they are keys of `teacher` or `student` in a study file."""

    depth: int = Field(2, ge=1, le=8)
    """How many convolutions."""
    channels: int = Field(8, ge=1)
    """Of each convolution."""


@kd_sweep.network("smallnet", parameters=SmallNet)
def smallnet(num_classes, channels, image_size, parameters):
    """Return an untrained network; its last layer reads the mean of a feature map, so it has attention maps."""
    layers = []
    for index in range(parameters.depth):
        layers.append(
            nn.Conv2d(parameters.channels if index else channels, parameters.channels, 3, padding=1, bias=False)
        )
        layers += [nn.BatchNorm2d(parameters.channels), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(parameters.channels, num_classes)]
    return nn.Sequential(*layers, *head)

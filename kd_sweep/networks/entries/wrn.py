"""Networks `wrn-DEPTH-WIDENING`: the wide residual networks."""

import re
from typing import TYPE_CHECKING

from kd_sweep.catalogue.entries import Family, register
from kd_sweep.catalogue.kinds import NETWORK
from kd_sweep.catalogue.parameters import NoParameters

if TYPE_CHECKING:
    from torch import nn

PUBLISHED = ("wrn-10-1", "wrn-16-1", "wrn-16-2", "wrn-16-4", "wrn-16-8", "wrn-28-10", "wrn-40-1", "wrn-40-2")
_NAME = re.compile(r"wrn-([1-9][0-9]{1,2})-([1-9][0-9]?)")


def shape_of(name: str) -> tuple[int, int] | None:
    """Return depth, which is 6n + 4, and widening factor; None for any other name."""
    match = _NAME.fullmatch(name)
    return None if match is None or int(match[1]) % 6 != 4 else (int(match[1]), int(match[2]))


@register(
    NETWORK, "wrn", family=Family(lambda name: shape_of(name) is not None, PUBLISHED, "wrn-16-2 and others of its kind")
)
def wrn(name: str, num_classes: int, channels: int, _image_size: int, _: NoParameters) -> "nn.Module":
    """Return an untrained network."""
    from kd_sweep.networks.architectures.wide_resnet import WideResNet

    shape = shape_of(name)
    assert shape is not None
    return WideResNet(*shape, num_classes, channels)

"""Networks `resnet8` to `resnet110`: the CIFAR-style residual networks, of any width."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, field_validator

from kd_sweep.catalogue.entries import Family, register
from kd_sweep.catalogue.kinds import NETWORK
from kd_sweep.catalogue.parameters import Parameters

if TYPE_CHECKING:
    from torch import nn

# 6n + 2; `resnet50` is torchvision's well-known one, not the CIFAR-style network of 50 layers.
DEPTHS = {f"resnet{depth}": depth for depth in range(8, 111, 6) if depth != 50}
DEFAULT_WIDTH = 16
"""Of the paper (He et al. 2015, arXiv 1512.03385, section 4.2)."""


class CifarResNetParameters(Parameters):
    """Of `resnet8` … `resnet110`."""

    width: int = Field(DEFAULT_WIDTH, ge=1, le=1024)
    """Channels of the first stage (16 when null); the others have 2 and 4 times as many."""

    @field_validator("width", mode="before", json_schema_input_type=Annotated[int, Field(ge=1, le=1024)] | None)
    @classmethod
    def _null_is_the_default(cls, width: Any) -> Any:
        return DEFAULT_WIDTH if width is None else width


@register(
    NETWORK,
    "cifar_resnet",
    parameters=CifarResNetParameters,
    family=Family(DEPTHS.__contains__, tuple(DEPTHS), "resnet8 … resnet110"),
)
def cifar_resnet(
    name: str, num_classes: int, channels: int, _image_size: int, parameters: CifarResNetParameters
) -> "nn.Module":
    """Return an untrained network."""
    from kd_sweep.networks.architectures.resnet import CifarResNet

    return CifarResNet(DEPTHS[name], num_classes, channels, parameters.width)

"""The interface of networks that have a feature map.

Shapes: B images, D channels, H x W pixels, h x w feature map, C classes.
"""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Classifier(Protocol):
    """The interface of every network with a feature map, beside that of an `nn.Module`."""

    @property
    def classifier_weight(self) -> Tensor:
        """Weight (C, D) of the mean of the features in the logits."""

    @property
    def features(self) -> nn.Module:
        """The module that gives the last feature map before pooling."""

    @property
    def features_channels_last(self) -> bool:
        """Whether that module gives (B, h, w, D)."""

    def forward_with_features(self, images_BDHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits_BC and the last feature map before pooling, (B, D, h, w)."""

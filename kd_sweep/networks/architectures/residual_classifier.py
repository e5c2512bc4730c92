"""What both residual networks share: stem, blocks, mean over the map, one linear layer.

Shapes: B images, D channels, H x W pixels, C classes.
"""

import torch
from torch import Tensor, nn


class ResidualClassifier(nn.Module):
    """A convolutional classifier that reads the mean of its last feature map.

    Args:
        stem: reads the images.
        blocks: read what the stem gives, and end in the last feature map.
        num_features: D, channels of that map.
        num_classes: C.
    """

    def __init__(self, stem: nn.Module, blocks: nn.Sequential, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = blocks
        self.classifier = nn.Linear(num_features, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @property
    def classifier_weight(self) -> Tensor:
        """Weight (C, D) of the linear layer that reads the pooled features."""
        return self.classifier.weight

    @property
    def features(self) -> nn.Module:
        """The module that gives the last feature map before pooling."""
        return self.blocks

    @property
    def features_channels_last(self) -> bool:
        """Whether that map is (B, h, w, D)."""
        return False

    def forward(self, images_BDHW: Tensor) -> Tensor:
        """Return logits_BC."""
        return self.forward_with_features(images_BDHW)[0]

    def forward_with_features(self, images_BDHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits_BC and the last feature map before pooling."""
        features_BDhw = self.blocks(self.stem(images_BDHW))
        return self.classifier(torch.mean(features_BDhw, (2, 3))), features_BDhw

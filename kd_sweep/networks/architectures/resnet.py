"""The CIFAR-style residual networks (He et al. 2015, arXiv 1512.03385, section 4.2), of any width.

Shapes: B images, D channels, H x W pixels, C classes.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from kd_sweep.networks.architectures.residual_classifier import ResidualClassifier


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut: identity, or a 1 x 1 convolution where the shape changes."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x_BDHW: Tensor) -> Tensor:
        """Return (B, channels_out, H / stride, W / stride)."""
        inner_BDHW = F.relu(self.norm1(self.conv1(x_BDHW)), inplace=True)
        return F.relu(self.norm2(self.conv2(inner_BDHW)) + self.shortcut(x_BDHW), inplace=True)


class CifarResNet(ResidualClassifier):
    """ResNet-N with N = 6n + 2: three stages of n blocks at full, half and quarter resolution.

    Args:
        depth: N, at least 8.
        num_classes: C.
        channels: of the images.
        width: channels of the first stage; the others have 2 and 4 times as many.
    """

    def __init__(self, depth: int, num_classes: int, channels: int, width: int) -> None:
        num_blocks = (depth - 2) // 6
        stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        blocks = []
        channels_in = width
        for stage in range(3):
            for block in range(num_blocks):
                channels_out = width * 2**stage
                blocks.append(ResidualBlock(channels_in, channels_out, stride=2 if stage and not block else 1))
                channels_in = channels_out
        super().__init__(stem, nn.Sequential(*blocks), channels_in, num_classes)

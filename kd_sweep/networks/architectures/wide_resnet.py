"""Wide residual networks (Zagoruyko and Komodakis 2016, arXiv 1605.07146), without dropout.

Shapes: B images, D channels, H x W pixels, C classes.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from kd_sweep.networks.architectures.residual_classifier import ResidualClassifier

BASE_WIDTH = 16


class WideBlock(nn.Module):
    """Normalisation, ReLU and a 3 x 3 convolution, twice; where the shape changes the shortcut is a 1 x 1 convolution.

    That convolution reads the activated input, as in the authors' code.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        changes = stride != 1 or channels_in != channels_out
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False) if changes else None

    def forward(self, x_BDHW: Tensor) -> Tensor:
        """Return (B, channels_out, H / stride, W / stride)."""
        active_BDHW = F.relu(self.norm1(x_BDHW))
        inner_BDHW = F.relu(self.norm2(self.conv1(active_BDHW)), inplace=True)
        past_BDHW = x_BDHW if self.shortcut is None else self.shortcut(active_BDHW)
        out_BDHW: Tensor = self.conv2(inner_BDHW) + past_BDHW
        return out_BDHW


class WideResNet(ResidualClassifier):
    """WRN-d-k: three stages of (d - 4) / 6 blocks with 16k, 32k and 64k channels.

    Args:
        depth: d, 6n + 4.
        widening: k.
        num_classes: C.
        channels: of the images.
    """

    def __init__(self, depth: int, widening: int, num_classes: int, channels: int) -> None:
        stem = nn.Conv2d(channels, BASE_WIDTH, 3, padding=1, bias=False)
        blocks: list[nn.Module] = []
        channels_in = BASE_WIDTH
        for stage in range(3):
            for block in range((depth - 4) // 6):
                channels_out = BASE_WIDTH * widening * 2**stage
                blocks.append(WideBlock(channels_in, channels_out, stride=2 if stage and not block else 1))
                channels_in = channels_out
        blocks += [nn.BatchNorm2d(channels_in), nn.ReLU(inplace=True)]
        super().__init__(stem, nn.Sequential(*blocks), channels_in, num_classes)

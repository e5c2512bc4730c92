"""The normalisation between pooling and classifier, as in ConvNeXt and LeViT, as a part of the classifier's weight.

Shapes: B images, D channels, h x w feature map, C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def norm_after_pooling(modules: Sequence[nn.Module], features: nn.Module, width: int) -> nn.Module | None:
    """Return the normalisation of ``width`` channels that ran behind ``features``, if there is exactly one.

    Args:
        modules: in the order in which they ran, up to the classifier.
        features: the one that gives the last feature map before pooling.
        width: D.
    """
    last = max(index for index, module in enumerate(modules) if module is features)
    norms = [module for module in modules[last + 1 :] if _channels_of(module) == width]
    return norms[0] if len(norms) == 1 else None


def folded_weight(norm: nn.Module, weight_CD: Tensor) -> Tensor:
    """Return the weight (C, D) of pooled features, divided by `divisor`, in the logits.

    Layer norm takes (x - mean) / deviation * scale: the mean over the channels is linear in x, and goes into the
    weight. Batch norm in evaluation mode is a scale for each channel.
    """
    scaled_CD = weight_CD * norm.weight if isinstance(norm.weight, Tensor) else weight_CD
    if isinstance(norm, nn.LayerNorm):
        return scaled_CD - scaled_CD.mean(1, keepdim=True)
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_var is not None
    return scaled_CD / (norm.running_var + norm.eps).sqrt()


def divisor(norm: nn.Module, features_BDhw: Tensor) -> Tensor:
    """Return the divisor of each image's pooled features, (B, 1, 1, 1): their deviation with layer norm, else 1."""
    if not isinstance(norm, nn.LayerNorm):
        return torch.ones_like(features_BDhw[:, :1, :1, :1])
    variance_B = features_BDhw.mean((2, 3)).var(1, correction=0)
    return (variance_B + norm.eps).sqrt()[:, None, None, None]


def _channels_of(norm: nn.Module) -> int | None:
    if isinstance(norm, nn.LayerNorm) and len(norm.normalized_shape) == 1:
        return norm.normalized_shape[0]
    return norm.num_features if isinstance(norm, nn.BatchNorm1d) and norm.track_running_stats else None

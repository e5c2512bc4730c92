"""Attention maps of convolutional networks: class activation maps, summed over the classes.

Shapes: B images, D channels, h x w feature map, H x W image, C classes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

CONSTANT = 1e-5
"""Of the largest value of a map: one whose values differ by no more is constant, since rounding alone does that."""


def class_activation_maps(features_BDhw: Tensor, classifier_weight_CD: Tensor, image_size: int) -> Tensor:
    r"""Return where a network looks, as maps in [0, 1].

    The class activation map of class :math:`c` is :math:`\sum_d W_{cd} f_d(y, x)` (Zhou et al. 2016,
    arXiv 1512.04150); summed over the classes, the features are projected on the summed rows of the
    classifier's weight. The map is enlarged bilinearly to the image and scaled to [0, 1] per image.

    Args:
        features_BDhw: the last feature map before pooling.
        classifier_weight_CD: weight of the linear layer that reads the pooled features.
        image_size: H = W of the images.

    Returns:
        float32 (B, H, W); each map reaches 0 and 1, but for a constant one, which is 0 everywhere.
    """
    return enlarged_to_unit_range(summed_over_classes(features_BDhw, classifier_weight_CD), image_size)


def summed_over_classes(features_BDhw: Tensor, classifier_weight_CD: Tensor) -> Tensor:
    """Return the class activation maps summed over the classes, as large as the features: float32 (B, h, w)."""
    summed_D = classifier_weight_CD.detach().float().sum(0)
    return torch.einsum("bdhw,d->bhw", features_BDhw.detach().float(), summed_D)


def enlarged_to_unit_range(maps_Bhw: Tensor, image_size: int) -> Tensor:
    """Return maps enlarged bilinearly to (B, H, W), each scaled to reach 0 and 1; a constant one is 0 everywhere."""
    largest_B = maps_Bhw.abs().amax((1, 2))
    varies_B = maps_Bhw.amax((1, 2)) - maps_Bhw.amin((1, 2)) > CONSTANT * largest_B
    size = (image_size, image_size)
    maps_BHW = F.interpolate(maps_Bhw[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    lowest_B11 = maps_BHW.amin((1, 2), keepdim=True)
    range_B11 = maps_BHW.amax((1, 2), keepdim=True) - lowest_B11
    return torch.where(varies_B[:, None, None] & (range_B11 > 0), (maps_BHW - lowest_B11) / range_B11, 0.0)


def binarise(maps_BHW: Tensor, threshold: float) -> Tensor:
    """Return the attention regions: bool (B, H, W), true where a map is above ``threshold``."""
    return maps_BHW > threshold


def attention_masks(features_BDhw: Tensor, classifier_weight_CD: Tensor, image_size: int, threshold: float) -> Tensor:
    """Return the binarised class activation maps: bool (B, H, W). See `class_activation_maps`."""
    return binarise(class_activation_maps(features_BDhw, classifier_weight_CD, image_size), threshold)

"""Class activation maps of convolutional networks, summed over the classes.

Shapes: B images, D channels, h x w feature map, C classes.
"""

import torch
from torch import Tensor


def class_activation_maps(features_BDhw: Tensor, classifier_weight_CD: Tensor) -> Tensor:
    r"""Return the class activation maps summed over the classes, as large as the features: float32 (B, h, w).

    The map of class :math:`c` is :math:`\sum_d W_{cd} f_d(y, x)` (Zhou et al. 2016, arXiv 1512.04150). Summed over the
    classes, the features are projected on the summed rows of the classifier's weight. No gradient is kept.

    Args:
        features_BDhw: the last feature map before pooling.
        classifier_weight_CD: weight of the linear layer that reads the pooled features.
    """
    summed_D = classifier_weight_CD.detach().float().sum(0)
    return torch.einsum("bdhw,d->bhw", features_BDhw.detach().float(), summed_D)

"""Gradient-weighted class activation maps of the predicted class.

Shapes: B images, D channels, h x w feature map, C classes.
"""

from typing import Any

import torch
from torch import Tensor, nn


def gradient_activation_maps(
    model: nn.Module, features: nn.Module, channels_last: bool, images_BDHW: Tensor
) -> tuple[Tensor, Tensor]:
    r"""Return the logits of images, and the attention maps of the class that the network predicts.

    .. math:: \mathrm{relu}\Big(\sum_d \alpha_d f_d(y, x)\Big), \quad
        \alpha_d = \frac{1}{hw} \sum_{y, x} \frac{\partial z_c}{\partial f_d(y, x)}

    with :math:`z_c` the highest logit (Selvaraju et al. 2017, arXiv 1610.02391, equations 1 and 2). Only what follows
    the feature map is differentiated, so that this costs little more than a forward pass. No parameter gets a gradient.

    Args:
        model: in evaluation mode; in training mode, batch norm would mix the images.
        features: the module of ``model`` that gives the last feature map before pooling.
        channels_last: whether that map is (B, h, w, D).
        images_BDHW: as the network takes them.

    Returns:
        logits float32 (B, C), and maps float32 (B, h, w) of at least 0, as large as the features.
    """
    logits_BC, *tensors = _gradient_of_predicted_class(model, features, images_BDHW)
    order = (0, 3, 1, 2) if channels_last else (0, 1, 2, 3)
    features_BDhw, gradient_BDhw = (tensor.detach().float().permute(order) for tensor in tensors)
    maps_Bhw = torch.einsum("bdhw,bd->bhw", features_BDhw, gradient_BDhw.mean((2, 3))).relu()
    return logits_BC.detach().float(), maps_Bhw


def _gradient_of_predicted_class(
    model: nn.Module, features: nn.Module, images_BDHW: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logits, the output of ``features``, and the gradient of each image's highest logit by that output."""
    leaves: list[Tensor] = []

    def cut(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        leaf = output.detach().requires_grad_()
        leaves.append(leaf)
        # From here to the logits a graph is recorded; the context manager below ends that.
        torch.set_grad_enabled(True)
        # A copy, since what follows may work in place, which a leaf does not allow.
        return leaf.clone()

    handle = features.register_forward_hook(cut)
    try:
        with torch.no_grad():
            logits_BC = model(images_BDHW)
            predicted_B1 = logits_BC.argmax(1, keepdim=True)
            # Images do not depend on each other, so the gradient of the sum has each image's own.
            (gradient,) = torch.autograd.grad(logits_BC.gather(1, predicted_B1).sum(), leaves[-1])
    finally:
        handle.remove()
    return logits_BC, leaves[-1], gradient

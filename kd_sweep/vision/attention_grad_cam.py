"""Gradient-weighted class activation maps of the predicted class.

Shapes: B images, D channels, h x w feature map, H x W image, C classes.
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from kd_sweep.vision.attention import enlarged_to_unit_range


class WithFeatureMap(Protocol):
    """A network that names the module whose output its classifier reads."""

    @property
    def features(self) -> nn.Module:
        """The module that gives the last feature map before pooling."""

    @property
    def features_channels_last(self) -> bool:
        """Whether that map is (B, h, w, D)."""


def grad_cam(model: nn.Module, network: WithFeatureMap, images_BDHW: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return what a network says of images, and where it looks for the class that it predicts.

    .. math:: \mathrm{relu}\Big(\sum_d \alpha_d f_d(y, x)\Big), \quad
        \alpha_d = \frac{1}{hw} \sum_{y, x} \frac{\partial z_c}{\partial f_d(y, x)}

    with :math:`z_c` the highest logit (Selvaraju et al. 2017, arXiv 1610.02391, equations 1 and 2), enlarged bilinearly
    to the image and scaled to [0, 1] per image. Only what follows the feature map is differentiated, so that this
    costs little more than a forward pass. No parameter gets a gradient.

    Args:
        model: in evaluation mode; in training mode, batch norm would mix the images.
        network: the same, where its feature map is.
        images_BDHW: as the network takes them.

    Returns:
        logits float32 (B, C), and maps float32 (B, H, W); each map reaches 0 and 1, but for a constant one, which is 0.
    """
    seen: list[Tensor] = []

    def cut(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        leaf = output.detach().requires_grad_()
        seen.append(leaf)
        # From here to the logits a graph is recorded; the context manager below ends that.
        torch.set_grad_enabled(True)
        # A copy, since what follows may work in place, which a leaf does not allow.
        return leaf.clone()

    handle = network.features.register_forward_hook(cut)
    try:
        with torch.no_grad():
            logits_BC = model(images_BDHW)
    finally:
        handle.remove()
    features = seen[-1]
    # Images do not depend on each other, so the gradient of the sum has each image's own.
    (gradients,) = torch.autograd.grad(logits_BC.amax(1).sum(), features)
    features_BDhw, gradients_BDhw = features.detach(), gradients
    if network.features_channels_last:
        features_BDhw, gradients_BDhw = features_BDhw.permute(0, 3, 1, 2), gradients_BDhw.permute(0, 3, 1, 2)
    weights_BD = gradients_BDhw.float().mean((2, 3))
    maps_Bhw = torch.einsum("bdhw,bd->bhw", features_BDhw.float(), weights_BD).relu()
    return logits_BC.detach().float(), enlarged_to_unit_range(maps_Bhw, images_BDHW.shape[-1])

"""Attention maps `grad_cam`: class activation maps of the predicted class, weighted by gradients."""

from typing import TYPE_CHECKING, cast

from kd_sweep.catalogue.decorators import attention_map
from kd_sweep.catalogue.parameters import NoParameters

if TYPE_CHECKING:
    from torch import Tensor, nn

    from kd_sweep.networks.classifier_interface import Classifier


@attention_map("grad_cam")
def grad_cam(model: "nn.Module", images_BDHW: "Tensor", _: NoParameters) -> "tuple[Tensor, Tensor]":
    """Return logits and the maps of Selvaraju et al. 2017 (arXiv 1610.02391)."""
    from kd_sweep.attention.gradient_activation import gradient_activation_maps

    classifier = cast("Classifier", model)
    return gradient_activation_maps(model, classifier.features, classifier.features_channels_last, images_BDHW)

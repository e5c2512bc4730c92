"""Attention maps `cam`: class activation maps, summed over the classes."""

from typing import TYPE_CHECKING

from kd_sweep.catalogue.decorators import attention_map
from kd_sweep.catalogue.parameters import NoParameters

if TYPE_CHECKING:
    from torch import Tensor

    from kd_sweep.networks.classifier_interface import Classifier


@attention_map("cam")
def cam(model: "Classifier", images_BDHW: "Tensor", _: NoParameters) -> "tuple[Tensor, Tensor]":
    """Return logits and the maps of arXiv 2405.00739."""
    from kd_sweep.attention.class_activation import class_activation_maps

    logits_BC, features_BDhw = model.forward_with_features(images_BDHW)
    return logits_BC.detach().float(), class_activation_maps(features_BDhw, model.classifier_weight)

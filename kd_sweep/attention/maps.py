"""Attention maps of a network, of the kind that it has, over its images.

Shapes: B images, D channels, H x W image, h x w map as the network makes it, C classes.
"""

from typing import Literal, assert_never, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_sweep.attention.cam import class_activation_maps
from kd_sweep.attention.grad_cam import grad_cam
from kd_sweep.attention.rollout import rollout_maps
from kd_sweep.networks.class_token_transformer import ClassTokenTransformer
from kd_sweep.networks.classifier_interface import Classifier

AttentionKind = Literal["cam", "grad_cam"]

CONSTANT = 1e-5
"""Share of a map's largest value: a map whose values differ by no more is constant, as rounding alone does that."""


def map_name(model: nn.Module, kind: AttentionKind) -> str:
    """Return which map `attention_maps` makes of ``model``: `cam`, `grad_cam` or `rollout`."""
    return "rollout" if isinstance(model, ClassTokenTransformer) else kind


def attention_maps(model: nn.Module, images_BDHW: Tensor, kind: AttentionKind) -> tuple[Tensor, Tensor]:
    """Return logits, float32 (B, C), and attention maps over the images, float32 (B, H, W) in [0, 1]."""
    logits_BC, maps_Bhw = small_attention_maps(model, images_BDHW, kind)
    return logits_BC, enlarged_to_unit_range(maps_Bhw, images_BDHW.shape[-1])


def small_attention_maps(model: nn.Module, images_BDHW: Tensor, kind: AttentionKind) -> tuple[Tensor, Tensor]:
    """Return logits, float32 (B, C), and attention maps as large as the network makes them, float32 (B, h, w).

    `enlarged_to_unit_range` makes of these the maps over the images. No gradient is kept.

    Args:
        model: of `build_model`, in evaluation mode.
        images_BDHW: as the network takes them.
        kind: `cam` (`class_activation_maps`) or `grad_cam`, for networks with a feature map. A transformer that
            classifies by its class token has none: its map is the rollout of its attention, whatever the ``kind``.
    """
    if isinstance(model, ClassTokenTransformer):
        logits_BC, maps_Bhw = rollout_maps(model, images_BDHW)
        return logits_BC.float(), maps_Bhw
    classifier = cast(Classifier, model)
    match kind:
        case "grad_cam":
            return grad_cam(model, classifier.features, classifier.features_channels_last, images_BDHW)
        case "cam":
            logits_BC, features_BDhw = classifier.forward_with_features(images_BDHW)
            return logits_BC.detach().float(), class_activation_maps(features_BDhw, classifier.classifier_weight)
        case _:
            assert_never(kind)


def enlarged_to_unit_range(maps_Bhw: Tensor, image_size: int) -> Tensor:
    """Return maps enlarged bilinearly to (B, H, W), each scaled to reach 0 and 1; a constant one is 0 everywhere."""
    largest_B = maps_Bhw.abs().amax((1, 2))
    varies_B = maps_Bhw.amax((1, 2)) - maps_Bhw.amin((1, 2)) > CONSTANT * largest_B
    size = (image_size, image_size)
    maps_BHW = F.interpolate(maps_Bhw[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    lowest_B11 = maps_BHW.amin((1, 2), keepdim=True)
    range_B11 = maps_BHW.amax((1, 2), keepdim=True) - lowest_B11
    return torch.where(varies_B[:, None, None] & (range_B11 > 0), (maps_BHW - lowest_B11) / range_B11, 0.0)

"""Where a network looks, by whichever kind of map it has.

Shapes: B images, D channels, H x W image, h x w map as the network makes it, C classes.
"""

from typing import Literal, assert_never, cast

from torch import Tensor, nn

from kd_sweep.attention.cam import enlarged_to_unit_range, summed_over_classes
from kd_sweep.attention.grad_cam import grad_cam
from kd_sweep.networks.build import Classifier
from kd_sweep.networks.class_token_transformer import ClassTokenTransformer

AttentionKind = Literal["cam", "grad_cam"]


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
            classifies by its class token has none: its map is the rollout of its attention, whatever ``kind`` says.
    """
    if isinstance(model, ClassTokenTransformer):
        logits_BC, maps_Bhw = model.forward_with_rollout(images_BDHW)
        return logits_BC.float(), maps_Bhw
    classifier = cast(Classifier, model)
    match kind:
        case "grad_cam":
            return grad_cam(model, classifier.features, classifier.features_channels_last, images_BDHW)
        case "cam":
            logits_BC, features_BDhw = classifier.forward_with_features(images_BDHW)
            return logits_BC.detach().float(), summed_over_classes(features_BDhw, classifier.classifier_weight)
        case _:
            assert_never(kind)

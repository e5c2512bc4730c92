"""Attention maps of a network, of the kind that it has, over its images.

Shapes: B images, D channels, H x W image, h x w map as the network makes it, C classes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_sweep.attention.rollout import rollout_maps
from kd_sweep.errors import TrialError
from kd_sweep.networks.class_token_transformer import ClassTokenTransformer
from kd_sweep.networks.plugin_networks import PluginErrors
from kd_sweep.study.identity import digest
from kd_sweep.study.recipe import Metrics

ROLLOUT = "rollout"

CONSTANT = 1e-5
"""Share of a map's largest value: a map whose values differ by no more is constant, as rounding alone does that."""


def map_name(model: nn.Module, metrics: Metrics) -> str:
    """Return which map `attention_maps` makes of ``model``: `rollout`, or the one that ``metrics`` selects."""
    return ROLLOUT if isinstance(model, ClassTokenTransformer) else metrics.attention


def maps_id(metrics: Metrics) -> str:
    """Return what maps are kept under, as a part of a file's name: kind, and digest of its parameters and source."""
    parameters = metrics.parameters()
    return metrics.attention.replace(":", ".") + (f"-{digest(parameters)}" if parameters else "")


def attention_maps(model: nn.Module, images_BDHW: Tensor, metrics: Metrics) -> tuple[Tensor, Tensor]:
    """Return logits, float32 (B, C), and attention maps over the images, float32 (B, H, W) in [0, 1].

    Raises:
        TrialError: as `small_attention_maps`.
    """
    logits_BC, maps_Bhw = small_attention_maps(model, images_BDHW, metrics)
    return logits_BC, enlarged_to_unit_range(maps_Bhw, images_BDHW.shape[-1])


def small_attention_maps(model: nn.Module, images_BDHW: Tensor, metrics: Metrics) -> tuple[Tensor, Tensor]:
    """Return logits, float32 (B, C), and attention maps as large as the network makes them, float32 (B, h, w).

    `enlarged_to_unit_range` makes of these the maps over the images. No gradient is kept.

    Args:
        model: of `build_model`, in evaluation mode.
        images_BDHW: as the network takes them.
        metrics: selects the kind of map, with its parameters, for networks with a feature map. A transformer that
            classifies by its class token has none: its map is the rollout of its attention, whatever is selected.

    Raises:
        TrialError: a kind of a plug-in raised, or returned something else than logits and maps of finite values.
    """
    if isinstance(model, ClassTokenTransformer):
        logits_BC, maps_Bhw = rollout_maps(model, images_BDHW)
        return logits_BC.float(), maps_Bhw
    if metrics.source is not None:
        return _of_plugin(model, images_BDHW, metrics)
    of_entry: tuple[Tensor, Tensor] = metrics.entry.item(model, images_BDHW, metrics)
    return of_entry


def _of_plugin(model: Any, images_BDHW: Tensor, metrics: Metrics) -> tuple[Tensor, Tensor]:
    label = f"metrics.attention: {metrics.attention!r}"
    with PluginErrors(label):
        outputs: Any = metrics.entry.item(model, images_BDHW, metrics)
    if not isinstance(outputs, tuple | list) or len(outputs) != 2 or not all(isinstance(o, Tensor) for o in outputs):
        raise TrialError(f"{label} did not return two tensors, logits and maps")
    num_images = len(images_BDHW)
    for name, output, num_dimensions in (("logits", outputs[0], 2), ("maps", outputs[1], 3)):
        if output.ndim != num_dimensions or len(output) != num_images or output.numel() == 0:
            expected = "(images, classes)" if num_dimensions == 2 else "(images, height, width)"
            raise TrialError(f"{label} returned {name} of shape {tuple(output.shape)}, not {expected} of {num_images}")
        if output.is_complex() or not bool(output.isfinite().all()):
            raise TrialError(f"{label} returned {name} that are not finite real numbers")
    num_classes = len(model.classifier_weight)
    if outputs[0].shape[1] != num_classes:
        raise TrialError(f"{label} returned logits of {outputs[0].shape[1]} classes, not of {num_classes}")
    if model.training:
        raise TrialError(f"{label} left the network in training mode")
    logits_BC, maps_Bhw = (output.detach().to(images_BDHW.device, torch.float32) for output in outputs)
    return logits_BC, maps_Bhw


def enlarged_to_unit_range(maps_Bhw: Tensor, image_size: int) -> Tensor:
    """Return maps enlarged bilinearly to (B, H, W), each scaled to reach 0 and 1; a constant one is 0 everywhere."""
    largest_B = maps_Bhw.abs().amax((1, 2))
    varies_B = maps_Bhw.amax((1, 2)) - maps_Bhw.amin((1, 2)) > CONSTANT * largest_B
    size = (image_size, image_size)
    maps_BHW = F.interpolate(maps_Bhw[:, None], size, mode="bilinear", align_corners=False)[:, 0]
    lowest_B11 = maps_BHW.amin((1, 2), keepdim=True)
    range_B11 = maps_BHW.amax((1, 2), keepdim=True) - lowest_B11
    return torch.where(varies_B[:, None, None] & (range_B11 > 0), (maps_BHW - lowest_B11) / range_B11, 0.0)

"""Classifiers by name, built in or of torchvision or timm: their common interface, and their building."""

from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from kd_sweep.data.dataset import Dataset
from kd_sweep.networks.model_names import check_built_in, depth_of, wide_shape_of
from kd_sweep.study.recipe import Learner


@runtime_checkable
class Classifier(Protocol):
    """The interface of every network with a feature map, beside that of an `nn.Module`."""

    @property
    def classifier_weight(self) -> Tensor:
        """Weight (C, D) of the mean of the features in the logits."""

    @property
    def features(self) -> nn.Module:
        """The module that gives the last feature map before pooling."""

    @property
    def features_channels_last(self) -> bool:
        """Whether that module gives (B, h, w, D)."""

    def forward_with_features(self, images_BDHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits_BC and the last feature map before pooling, (B, D, h, w)."""


def build_model(learner: Learner, dataset: Dataset, init_seed: int) -> nn.Module:
    """Return an untrained network for ``dataset``, on the CPU.

    Its weights are a function of (model, width, stem, dataset's shape, ``init_seed``); torch's own random state stays.

    Returns:
        A `Classifier`: `model(images)` gives logits_BC, `model.forward_with_features(images)` also the features.

    Raises:
        SpecError: no such model, or one that gives no attention maps.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(init_seed)
        return build_for(learner, dataset.num_classes, dataset.channels, dataset.image_size)


def initial_model(learner: Learner, dataset: Dataset, init_seed: int) -> nn.Module:
    """Return the network at the start of training: of `build_model`, with the weights that ``learner`` names, if any.

    Raises:
        SpecError: as `build_model`, or the weights cannot be read or are another network's.
    """
    model = build_model(learner, dataset, init_seed)
    if learner.weights is not None:
        from kd_sweep.networks.initial_weights import load_initial_weights

        load_initial_weights(model, learner, "weights")
    return model


def build_for(learner: Learner, num_classes: int, channels: int, image_size: int) -> nn.Module:
    """Return an untrained network for such images, of weights that depend on torch's random state.

    Raises:
        SpecError: as `build_model`.
    """
    check_built_in(learner, "model")
    depth = depth_of(learner.model)
    if depth is not None:
        from kd_sweep.networks.architectures.resnet import CifarResNet

        return CifarResNet(depth, num_classes, channels, learner.width)
    wide = wide_shape_of(learner.model)
    if wide is not None:
        from kd_sweep.networks.architectures.wide_resnet import WideResNet

        return WideResNet(*wide, num_classes, channels)
    from kd_sweep.networks.backbones import build_backbone

    return cast(nn.Module, build_backbone(learner, num_classes, channels, image_size, "model"))

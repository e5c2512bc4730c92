"""Backbones: networks of torchvision, timm and plug-ins with the interface of a classifier, and the checks of them.

Shapes: B images, D channels, h x w feature map, C classes.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from kd_sweep.errors import SpecError
from kd_sweep.networks.class_token_transformer import ClassTokenTransformer, class_token_transformer
from kd_sweep.networks.model_libraries import POSSIBLE
from kd_sweep.networks.pooled_norm import divisor, folded_weight, norm_after_pooling
from kd_sweep.networks.recorded_pass import Step, record_pass
from kd_sweep.networks.stems import first_halvings
from kd_sweep.study.recipe import Learner

PROBE_IMAGES = 4
NEEDED = (
    "needed: an nn.Linear as its last layer, of the mean of a feature map over its pixels, or the attributes of "
    "kd_sweep's Classifier"
)
"""Of a network of a plug-in."""


class Backbone(nn.Module):
    """A network of another library or a plug-in, with the feature map that its classifier reads.

    Args:
        network: maps images to logits.
        classifier: name of its last linear layer.
        features: name of the module that gives the last feature map before pooling.
        channels_last: whether that map is (B, h, w, D).
        norm: name of the normalisation between pooling and classifier, where there is one.
        errors: around every pass of the network.
    """

    def __init__(
        self,
        network: nn.Module,
        classifier: str,
        features: str,
        channels_last: bool,
        norm: str | None = None,
        errors: AbstractContextManager[None] | None = None,
    ) -> None:
        super().__init__()
        self._errors = nullcontext() if errors is None else errors
        self.network = network
        self._classifier = classifier
        self._features = features
        self._channels_last = channels_last
        self._norm = norm

    @property
    def classifier(self) -> nn.Linear:
        """The linear layer that gives the logits."""
        return cast(nn.Linear, self.network.get_submodule(self._classifier))

    @property
    def classifier_weight(self) -> Tensor:
        """Weight (C, D) of the pooled features in the logits: the linear layer's, and the normalisation's with it."""
        weight_CD = self.classifier.weight
        return weight_CD if self._norm is None else folded_weight(self.network.get_submodule(self._norm), weight_CD)

    @property
    def features(self) -> nn.Module:
        """The module that gives the last feature map before pooling."""
        return self.network.get_submodule(self._features)

    @property
    def features_channels_last(self) -> bool:
        """Whether that map is (B, h, w, D)."""
        return self._channels_last

    def forward(self, images_BDHW: Tensor) -> Tensor:
        """Return logits_BC."""
        with self._errors:
            logits_BC: Tensor = self.network(images_BDHW)
        return logits_BC

    def forward_with_features(self, images_BDHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits_BC and the last feature map before pooling, (B, D, h, w).

        Its mean times `classifier_weight` is the logits but for a constant: where pooled features are normalised, the
        map is divided by the same divisor.
        """
        outputs: list[Tensor] = []
        handle = self.features.register_forward_hook(lambda _module, _args, output: outputs.append(output))
        try:
            logits_BC = self(images_BDHW)
        finally:
            handle.remove()
        features_BDhw = outputs[-1].permute(0, 3, 1, 2) if self._channels_last else outputs[-1]
        if self._norm is not None:
            features_BDhw = features_BDhw / divisor(self.network.get_submodule(self._norm), features_BDhw)
        return logits_BC, features_BDhw


@dataclass(frozen=True)
class Wanted:
    """A network, and what it is for."""

    learner: Learner
    num_classes: int
    """C."""
    channels: int
    """Of the images."""
    image_size: int
    """Height and width in pixels."""

    @property
    def label(self) -> str:
        """The network, which begins messages."""
        stem = " with stem 'small'" if self.stem == "small" else ""
        return f"model: {self.learner.model!r}{stem}"

    @property
    def stem(self) -> str | None:
        """None where the network has one alone."""
        stem: str | None = getattr(self.learner, "stem", None)
        return stem

    @property
    def possible(self) -> str:
        """What ends messages."""
        return POSSIBLE if self.learner.source is None else NEEDED

    def record(self, network: nn.Module) -> list[Step]:
        """Return the steps of a pass."""
        return record_pass(network, self.channels, self.image_size, self.label)


def with_attention(
    network: nn.Module, wanted: Wanted, errors: AbstractContextManager[None] | None = None
) -> Backbone | ClassTokenTransformer:
    """Return an untrained network with the source of its attention maps.

    Args:
        network: maps images to logits.
        wanted: what it is for.
        errors: around every pass of the network.

    Raises:
        SpecError: it does not take such images, or its classifier reads neither a feature map nor the class token of a
            transformer.
    """
    backbone = _with_attention(network, wanted, errors)
    # On the meta device there are shapes alone, which most mistakes are seen in.
    if isinstance(backbone, Backbone) and not next(network.parameters()).is_meta:
        _check_classifier_reads_only_features(backbone, wanted)
        _check_maps_are_of_the_whole_classifier(backbone, wanted)
    return backbone


def _with_attention(
    network: nn.Module, wanted: Wanted, errors: AbstractContextManager[None] | None
) -> Backbone | ClassTokenTransformer:
    """Wrap the network by the source of its attention maps: a transformer's class token, else the last feature map."""
    transformer = class_token_transformer(network, errors)
    if transformer is None:
        return _with_features(network, wanted, errors)
    classifier = _classifier(wanted.record(network), wanted)[1]
    if classifier.weight is not transformer.classifier_weight:
        raise SpecError(f"{wanted.label} has no linear classifier of its class token alone; {wanted.possible}")
    side = transformer.patches_per_side(wanted.channels, wanted.image_size)
    if side < 2:
        raise SpecError(
            f"{wanted.label} has {side} x {side} patches at data.image_size {wanted.image_size}, attention maps need "
            f"2 x 2; take a larger image_size, or a model with smaller patches or none (resnet8 … resnet110)"
        )
    return transformer


def _with_features(network: nn.Module, wanted: Wanted, errors: AbstractContextManager[None] | None) -> Backbone:
    """Find the last linear layer and the last feature map before pooling, by watching one pass."""
    steps = wanted.record(network)
    last, classifier = _classifier(steps, wanted)
    width = classifier.in_features
    module, _, shape = _last_map(steps[:last])
    channels_last = len(shape) == 4 and shape[3] == width and shape[1] != width
    if len(shape) != 4 or not (channels_last or shape[1] == width):
        raise SpecError(
            f"{wanted.label} has no feature map that its classifier reads, so it has no attention map; "
            f"{wanted.possible}"
        )
    map_size = shape[1:3] if channels_last else shape[2:]
    if min(map_size) < 2:
        stem = "stem: small, " if wanted.stem == "full" and first_halvings(steps) else ""
        raise SpecError(
            f"{wanted.label} leaves a feature map of {map_size[0]} x {map_size[1]} at data.image_size "
            f"{wanted.image_size}, attention maps need 2 x 2; take {stem}a larger image_size, or a model that reduces "
            f"less (resnet8 … resnet110)"
        )
    names = {module: name for name, module in network.named_modules()}
    norm = norm_after_pooling([step.module for step in steps[:last]], module, width)
    named_norm = None if norm is None else names[norm]
    return Backbone(network, names[classifier], names[module], channels_last, named_norm, errors)


def _classifier(steps: list[Step], wanted: Wanted) -> tuple[int, nn.Linear]:
    """Return the index of the last step of a linear layer, and that layer."""
    linear = [(index, step.module) for index, step in enumerate(steps) if isinstance(step.module, nn.Linear)]
    if not linear or linear[-1][1].out_features != wanted.num_classes:
        raise SpecError(
            f"{wanted.label} has no linear classifier, which attention maps are read from; {wanted.possible}"
        )
    return linear[-1]


def _last_map(steps: list[Step]) -> Step:
    """Return the last output with more than two dimensions before global pooling, if that is a module."""

    def pools(step: Step) -> bool:
        return "pool" in type(step.module).__name__.lower()

    def is_global(step: Step) -> bool:
        return len(step.output_shape) == 2 or (len(step.output_shape) == 4 and step.output_shape[2:] == (1, 1))

    pooled = [index for index, step in enumerate(steps) if pools(step) and is_global(step)]
    for step in reversed(steps[: pooled[-1]] if pooled else steps):
        passive = isinstance(step.module, nn.Identity | nn.Dropout | nn.Flatten)
        if len(step.output_shape) > 2 and not pools(step) and not passive:
            return step
    return steps[0]


def _check_classifier_reads_only_features(backbone: Backbone, wanted: Wanted) -> None:
    """Raise SpecError unless two images give the same logits once their feature maps are made equal."""
    images_BDHW = torch.randn(2, wanted.channels, wanted.image_size, wanted.image_size)
    handle = backbone.features.register_forward_hook(lambda _module, _args, output: torch.zeros_like(output))
    try:
        with torch.no_grad():
            first_C, second_C = backbone.eval()(images_BDHW)
    finally:
        backbone.train()
        handle.remove()
    if not torch.equal(first_C, second_C):
        raise SpecError(
            f"{wanted.label} has no feature map that its classifier reads alone, so no attention map; {wanted.possible}"
        )


def _check_maps_are_of_the_whole_classifier(backbone: Backbone, wanted: Wanted) -> None:
    """Raise SpecError unless the mean of the features times the classifier's weight is the logits, but for a constant.

    It is not where two classifiers are averaged, or features are pooled by another rule than the mean.
    """
    heads = [module for module in backbone.modules() if isinstance(module, nn.Linear)]
    heads = [head for head in heads if head.out_features == wanted.num_classes]
    weights = [head.weight.detach().clone() for head in heads]
    images_BDHW = torch.randn(PROBE_IMAGES, wanted.channels, wanted.image_size, wanted.image_size)
    try:
        with torch.no_grad():
            for head in heads:  # many begin at zero, and would hide that there are two
                head.weight.normal_(std=head.in_features**-0.5)
            logits_BC, features_BDhw = backbone.eval().forward_with_features(images_BDHW)
            of_map_BC = features_BDhw.mean((2, 3)) @ backbone.classifier_weight.T
            for head, weight in zip(heads, weights, strict=True):
                head.weight.copy_(weight)
    finally:
        backbone.train()
    varying_BC, of_map_BC = logits_BC - logits_BC.mean(0), of_map_BC - of_map_BC.mean(0)
    rounding = 1e-5 * float(logits_BC.abs().max())
    if float((varying_BC - of_map_BC).abs().max()) > 1e-3 * float(varying_BC.abs().max()) + rounding:
        raise SpecError(
            f"{wanted.label} has a classifier that reads more than the mean of its last feature map, such as two heads "
            f"or another pooling, so its attention map would be of a part of it; {wanted.possible}"
        )

"""torchvision's and timm's classifiers behind the interface of the built-in networks.

Shapes: B images, D channels, h x w feature map, C classes.
"""

from contextlib import suppress
from typing import Any, cast

import torch
from torch import Tensor, nn

from kd_sweep.errors import SpecError
from kd_sweep.vision.attention_rollout import ClassTokenTransformer, class_token_transformer
from kd_sweep.vision.libraries import POSSIBLE, create_network, one_line

_PROBE_CLASSES = 7


class Backbone(nn.Module):
    """A network of another library, with the feature map that its classifier reads.

    Args:
        network: maps images to logits.
        classifier: name of its last linear layer.
        features: name of the module that gives the last feature map before pooling.
        channels_last: whether that map is (B, h, w, D).
    """

    def __init__(self, network: nn.Module, classifier: str, features: str, channels_last: bool) -> None:
        super().__init__()
        self.network = network
        self._classifier = classifier
        self._features = features
        self._channels_last = channels_last

    @property
    def classifier_weight(self) -> Tensor:
        """Weight (C, D) of the linear layer that reads the pooled features."""
        return cast(Tensor, self.network.get_submodule(self._classifier).weight)

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
        logits_BC: Tensor = self.network(images_BDHW)
        return logits_BC

    def forward_with_features(self, images_BDHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits_BC and the last feature map before pooling, (B, D, h, w)."""
        seen: list[Tensor] = []
        handle = self.features.register_forward_hook(lambda _module, _args, output: seen.append(output))
        try:
            logits_BC = self.network(images_BDHW)
        finally:
            handle.remove()
        return logits_BC, seen[-1].permute(0, 3, 1, 2) if self._channels_last else seen[-1]


def build_backbone(
    model: str, num_classes: int, channels: int, image_size: int, where: str
) -> Backbone | ClassTokenTransformer:
    """Return an untrained network of torchvision or timm.

    Args:
        model: a name of either library, torchvision first, or `torchvision:NAME` or `timm:NAME`.
        num_classes: C.
        channels: of the images.
        image_size: height and width in pixels.
        where: place in the study, for messages.

    Raises:
        SpecError: no such model, it does not take such images, or its classifier reads neither a feature map nor the
            class token of a transformer.
    """
    what = f"{where}: {model!r}"
    network = create_network(model, num_classes, channels, image_size, where)
    backbone = _with_attention(network, num_classes, channels, image_size, what)
    if isinstance(backbone, Backbone):
        _check_classifier_reads_only_features(backbone, channels, image_size, what)
    return backbone


def check_backbone(model: str, where: str, image_size: int, channels: int) -> None:
    """Raise SpecError where `build_backbone` would; most mistakes are found by a pass that computes shapes alone."""
    # Constructors that compute with tensors cannot do so without data.
    with suppress(NotImplementedError), torch.device("meta"):
        network = create_network(model, _PROBE_CLASSES, channels, image_size, where)
        _with_attention(network, _PROBE_CLASSES, channels, image_size, f"{where}: {model!r}")
    with torch.random.fork_rng(devices=[]):
        build_backbone(model, _PROBE_CLASSES, channels, image_size, where)


def _with_attention(
    network: nn.Module, num_classes: int, channels: int, image_size: int, what: str
) -> Backbone | ClassTokenTransformer:
    """Find what an attention map is read from: a transformer's class token, else the last feature map."""
    transformer = class_token_transformer(network)
    if transformer is None:
        return _with_features(network, num_classes, channels, image_size, what)
    outputs = _outputs_of_a_pass(network, channels, image_size, what)
    classifier, _ = outputs[_place_of_classifier(outputs, num_classes, what)]
    if classifier.weight is not transformer.classifier_weight:
        raise SpecError(f"{what} has no linear classifier of its class token alone; {POSSIBLE}")
    side = transformer.patches_per_side(channels, image_size)
    if side < 2:
        raise SpecError(
            f"{what} has {side} x {side} patches at data.image_size {image_size}, attention maps need 2 x 2; take a "
            f"larger image_size, or a model with smaller patches or none (resnet8 … resnet110)"
        )
    return transformer


def _with_features(network: nn.Module, num_classes: int, channels: int, image_size: int, what: str) -> Backbone:
    """Find the last linear layer and the last feature map before pooling, by watching one pass."""
    outputs = _outputs_of_a_pass(network, channels, image_size, what)
    place = _place_of_classifier(outputs, num_classes, what)
    classifier = cast(nn.Linear, outputs[place][0])
    width = classifier.in_features
    module, shape = _last_map(outputs[:place])
    channels_last = len(shape) == 4 and shape[3] == width and shape[1] != width
    if len(shape) != 4 or not (channels_last or shape[1] == width):
        raise SpecError(f"{what} has no feature map that its classifier reads, so it has no attention map; {POSSIBLE}")
    map_size = shape[1:3] if channels_last else shape[2:]
    if min(map_size) < 2:
        raise SpecError(
            f"{what} leaves a feature map of {map_size[0]} x {map_size[1]} at data.image_size {image_size}, attention "
            f"maps need 2 x 2; take a larger image_size, or a model that reduces less (resnet8 … resnet110)"
        )
    names = {module: name for name, module in network.named_modules()}
    return Backbone(network, names[classifier], names[module], channels_last)


_Output = tuple[nn.Module, tuple[int, ...]]


def _place_of_classifier(outputs: list[_Output], num_classes: int, what: str) -> int:
    """Return which output is that of the linear layer that ran last, the classifier."""
    linear = [place for place, (module, _) in enumerate(outputs) if isinstance(module, nn.Linear)]
    if not linear or outputs[linear[-1]][0].out_features != num_classes:
        raise SpecError(f"{what} has no linear classifier, which attention maps are read from; {POSSIBLE}")
    return linear[-1]


def _last_map(outputs: list[_Output]) -> _Output:
    """Return the last output with more than two dimensions before global pooling, if that is a module."""

    def pools(module: nn.Module) -> bool:
        return "pool" in type(module).__name__.lower()

    def is_global(shape: tuple[int, ...]) -> bool:
        return len(shape) == 2 or (len(shape) == 4 and shape[2:] == (1, 1))

    pooled = [place for place, (module, shape) in enumerate(outputs) if pools(module) and is_global(shape)]
    for module, shape in reversed(outputs[: pooled[-1]] if pooled else outputs):
        passive = isinstance(module, nn.Identity | nn.Dropout | nn.Flatten)
        if len(shape) > 2 and not pools(module) and not passive:
            return module, shape
    return outputs[0]


def _outputs_of_a_pass(network: nn.Module, channels: int, image_size: int, what: str) -> list[_Output]:
    """Return the modules that give a tensor, in the order of one pass in evaluation mode, with the tensors' shapes."""
    outputs: list[_Output] = []

    def note(module: nn.Module, _args: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            outputs.append((module, tuple(output.shape)))

    handles = [module.register_forward_hook(note) for module in network.modules()]
    images_BDHW = torch.zeros(2, channels, image_size, image_size, device=next(network.parameters()).device)
    try:
        with torch.no_grad():
            network.eval()(images_BDHW)
    except Exception as error:
        images = f"images of data.image_size {image_size} with {channels} channels"
        raise SpecError(f"{what} does not take {images} ({one_line(error)})") from error
    finally:
        network.train()
        for handle in handles:
            handle.remove()
    return outputs


def _check_classifier_reads_only_features(backbone: Backbone, channels: int, image_size: int, what: str) -> None:
    """Raise SpecError unless two images give the same logits once their feature maps are made equal."""
    images_BDHW = torch.randn(2, channels, image_size, image_size)
    handle = backbone.features.register_forward_hook(lambda _module, _args, output: torch.zeros_like(output))
    try:
        with torch.no_grad():
            first_C, second_C = backbone.eval()(images_BDHW)
    finally:
        backbone.train()
        handle.remove()
    if not torch.equal(first_C, second_C):
        raise SpecError(f"{what} has no feature map that its classifier reads alone, so no attention map; {POSSIBLE}")

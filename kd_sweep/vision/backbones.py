"""torchvision's and timm's classifiers behind the interface of the built-in networks.

Shapes: B images, D channels, h x w feature map, C classes.
"""

import difflib
import importlib
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import torch
from torch import Tensor, nn

from kd_sweep.errors import SpecError
from kd_sweep.vision.attention_rollout import ClassTokenTransformer, class_token_transformer
from kd_sweep.vision.model_names import BUILT_IN, WIDE_EXAMPLES

_PROBE_CLASSES = 7
_POSSIBLE = f"possible: {BUILT_IN[0]} … {BUILT_IN[-1]}, resnet18, densenet121, efficientnet_b0, swin_t, …"


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
    network = _create(model, num_classes, channels, image_size, where)
    backbone = _with_attention(network, num_classes, channels, image_size, what)
    if isinstance(backbone, Backbone):
        _check_classifier_reads_only_features(backbone, channels, image_size, what)
    return backbone


def published_weights(model: str, where: str) -> dict[str, Tensor]:
    """Return the weights that the library of ``model`` publishes for it, downloaded once into that library's cache.

    Raises:
        SpecError: there are none, or they cannot be downloaded.
    """
    library, name = _library_of(model, where)
    try:
        if library == "torchvision":
            network = importlib.import_module("torchvision.models").get_model(name, weights="DEFAULT")
        else:
            network = importlib.import_module("timm").create_model(name, pretrained=True)
    except Exception as error:
        raise SpecError(f"{where}: no published weights of {model!r} ({_one_line(error)})") from error
    weights: dict[str, Tensor] = network.state_dict()
    return weights


def check_backbone(model: str, where: str, image_size: int, channels: int) -> None:
    """Raise SpecError where `build_backbone` would; most mistakes are found by a pass that computes shapes alone."""
    # Constructors that compute with tensors cannot do so without data.
    with suppress(NotImplementedError), torch.device("meta"):
        network = _create(model, _PROBE_CLASSES, channels, image_size, where)
        _with_attention(network, _PROBE_CLASSES, channels, image_size, f"{where}: {model!r}")
    with torch.random.fork_rng(devices=[]):
        build_backbone(model, _PROBE_CLASSES, channels, image_size, where)


def _create(model: str, num_classes: int, channels: int, image_size: int, where: str) -> nn.Module:
    library, name = _library_of(model, where)
    create = _create_torchvision if library == "torchvision" else _create_timm
    try:
        return create(name, num_classes, channels, image_size)
    except NotImplementedError:
        raise
    except Exception as error:
        raise SpecError(f"{where}: {model!r} cannot be built by {library} ({_one_line(error)})") from error


def _library_of(model: str, where: str) -> tuple[str, str]:
    """Return which library has ``model``, and its name there."""
    library, colon, name = model.partition(":")
    if colon:
        if library not in ("torchvision", "timm"):
            raise SpecError(f"{where}: {library!r} is not a library of models; possible: torchvision:NAME, timm:NAME")
        names = _timm_names(where, model) if library == "timm" else _torchvision_names()
        if name not in names:
            raise SpecError(f"{where}: {name!r} is not a classifier of {library}; {_nearest(name, names)}")
        return library, name
    if model in _torchvision_names():
        return "torchvision", model
    own = _torchvision_names() | frozenset((*BUILT_IN, *WIDE_EXAMPLES))
    if importlib.util.find_spec("timm") is None:
        raise SpecError(
            f"{where}: {model!r} is neither built in nor a classifier of torchvision; {_nearest(model, own)}; "
            f"those of timm after pip install 'kd-sweep[timm]'"
        )
    names = _timm_names(where, model)
    if model in names:
        return "timm", model
    raise SpecError(f"{where}: {model!r} is not a model; {_nearest(model, own, names)}")


def _nearest(name: str, *possible: frozenset[str]) -> str:
    """Return a near miss, of the first set that has one, or where to look: there are over a thousand names."""
    for names in possible:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        if near:
            return f"did you mean {near[0]!r}?"
    return f"{_POSSIBLE} or any classifier of torchvision or timm"


def _torchvision_names() -> frozenset[str]:
    models = importlib.import_module("torchvision.models")
    return frozenset(models.list_models(module=models))


def _timm_names(where: str, model: str) -> frozenset[str]:
    if importlib.util.find_spec("timm") is None:
        raise SpecError(f"{where}: {model!r} needs timm, which is not installed; pip install 'kd-sweep[timm]'")
    return frozenset(importlib.import_module("timm").list_models())


def _create_torchvision(name: str, num_classes: int, channels: int, image_size: int) -> nn.Module:
    models = importlib.import_module("torchvision.models")
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        # With auxiliary classifiers they would return several logits while they train.
        options = {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        options = {"image_size": image_size}
    network: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **options)
    if channels != 3:
        _replace_first_convolution(network, channels)
    return network


def _replace_first_convolution(network: nn.Module, channels: int) -> None:
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            parent, _, attribute = name.rpartition(".")
            shape: dict[str, Any] = {key: getattr(module, key) for key in ("kernel_size", "stride", "padding")}
            first = nn.Conv2d(channels, module.out_channels, bias=module.bias is not None, **shape)
            setattr(network.get_submodule(parent), attribute, first)
            return
    raise ValueError(f"it takes 3 channels, the images have {channels}")


def _create_timm(name: str, num_classes: int, channels: int, image_size: int) -> nn.Module:
    create: Callable[..., nn.Module] = importlib.import_module("timm").create_model
    options = {"pretrained": False, "num_classes": num_classes, "in_chans": channels}
    try:
        # Networks with a fixed input size take it as an option; the others do not know the word.
        return create(name, img_size=image_size, **options)
    except TypeError:
        return create(name, **options)


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
        raise SpecError(f"{what} has no linear classifier of its class token alone; {_POSSIBLE}")
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
        raise SpecError(f"{what} has no feature map that its classifier reads, so it has no attention map; {_POSSIBLE}")
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
        raise SpecError(f"{what} has no linear classifier, which attention maps are read from; {_POSSIBLE}")
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
        raise SpecError(f"{what} does not take {images} ({_one_line(error)})") from error
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
        raise SpecError(f"{what} has no feature map that its classifier reads alone, so no attention map; {_POSSIBLE}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__

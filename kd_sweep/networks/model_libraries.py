"""The model libraries torchvision and timm: their names of classifiers, constructors and published weights."""

import difflib
import importlib
import importlib.util
import os
import re
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from kd_sweep.catalogue.entries import entry_names
from kd_sweep.catalogue.kinds import NETWORK
from kd_sweep.errors import SpecError
from kd_sweep.networks.downloads import while_it_answers

TORCH_SERVER = "https://download.pytorch.org"
HF_SERVER = "https://huggingface.co"
_TERMINAL_CODE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
POSSIBLE = "possible: resnet8 … resnet110, resnet18, densenet121, efficientnet_b0, swin_t, …"


def create_network(model: str, num_classes: int, channels: int, image_size: int, field: str) -> nn.Module:
    """Return an untrained network.

    Args:
        model: a name of either library, torchvision first, or `torchvision:NAME` or `timm:NAME`.
        num_classes: how many logits.
        channels: of the images.
        image_size: height and width in pixels.
        field: of the model in the study file, for messages.

    Raises:
        SpecError: no such model, or not for such images.
        NotImplementedError: it computes with tensors while it is built, and those of the meta device hold no data.
    """
    library, name = library_of(model, field)
    create = _create_torchvision if library == "torchvision" else _create_timm
    try:
        return create(name, num_classes, channels, image_size)
    except NotImplementedError:
        raise
    except Exception as error:
        raise SpecError(f"{field}: {model!r} cannot be built by {library} ({one_line(error)})") from error


def _create_torchvision(name: str, num_classes: int, channels: int, image_size: int) -> nn.Module:
    models = importlib.import_module("torchvision.models")
    options = torchvision_options(name, image_size)
    network: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **options)
    if channels != 3:
        _replace_first_convolution(network, channels)
    return network


def torchvision_options(name: str, image_size: int) -> dict[str, Any]:
    """Return what `get_model` takes beside the classes, so that the network takes such images and has one output."""
    if name in ("googlenet", "inception_v3"):
        # With auxiliary classifiers they would return several logits while they train.
        return {"aux_logits": False, "init_weights": True}
    return {"image_size": image_size} if name.startswith("vit_") else {}


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


def check_published(model: str, field: str) -> None:
    """Raise SpecError where `published_weights` has none to download; downloads nothing."""
    library, name = library_of(model, field)
    if library == "torchvision":
        known = bool(list(importlib.import_module("torchvision.models").get_model_weights(name)))
    else:
        published = importlib.import_module("timm.models").get_pretrained_cfg(name)
        known = published is not None and bool(published.has_weights)
    if not known:
        raise SpecError(f"{field}: no weights of {model!r} are published; possible: the path of a file, null")


def published_weights(model: str, field: str) -> dict[str, Tensor]:
    """Return the weights that the library of ``model`` publishes for it, downloaded once into that library's cache.

    Raises:
        SpecError: they cannot be downloaded; `check_published` says whether there are some.
    """
    library, name = library_of(model, field)
    try:
        if library == "torchvision":
            get_model = importlib.import_module("torchvision.models").get_model
            network = while_it_answers(lambda: get_model(name, weights="DEFAULT"), TORCH_SERVER)
        else:
            create = importlib.import_module("timm").create_model
            network = while_it_answers(lambda: create(name, pretrained=True), os.environ.get("HF_ENDPOINT", HF_SERVER))
    except Exception as error:
        raise SpecError(
            f"{field}: the published weights of {model!r} cannot be downloaded ({one_line(error)})"
        ) from error
    weights: dict[str, Tensor] = network.state_dict()
    return weights


def library_of(model: str, field: str) -> tuple[str, str]:
    """Return the library that has ``model``, and the name there."""
    library, colon, name = model.partition(":")
    if colon:
        if library not in ("torchvision", "timm"):
            raise SpecError(f"{field}: {library!r} is not a library of models; possible: torchvision:NAME, timm:NAME")
        if ":" in name or "/" in name:
            raise SpecError(
                f"{field}: {model!r} names a location and not a model: its content can change; possible: timm:NAME, "
                "with its weights as a file in `weights`"
            )
        names = _timm_names(field, model) if library == "timm" else _torchvision_names()
        if name not in names:
            raise SpecError(f"{field}: {name!r} is not a classifier of {library}; {_nearest(name, names)}")
        return library, name
    if model in _torchvision_names():
        return "torchvision", model
    own = _torchvision_names() | frozenset(entry_names(NETWORK))
    if importlib.util.find_spec("timm") is None:
        raise SpecError(
            f"{field}: {model!r} is neither built in nor a classifier of torchvision; {_nearest(model, own)}; "
            f"those of timm after pip install -e '.[timm]' in the checkout"
        )
    names = _timm_names(field, model)
    if model in names:
        return "timm", model
    raise SpecError(f"{field}: {model!r} is not a model; {_nearest(model, own, names)}")


def _nearest(name: str, *possible: frozenset[str]) -> str:
    """Return a hint: a similar name of the first set that has one, else a few of the over a thousand names."""
    for names in possible:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
        if near:
            return f"did you mean {near[0]!r}?"
    return f"{POSSIBLE} or any classifier of torchvision or timm"


def _torchvision_names() -> frozenset[str]:
    models = importlib.import_module("torchvision.models")
    return frozenset(models.list_models(module=models))


def _timm_names(field: str, model: str) -> frozenset[str]:
    if importlib.util.find_spec("timm") is None:
        raise SpecError(
            f"{field}: {model!r} needs timm, which is not installed; pip install -e '.[timm]' in the checkout"
        )
    return frozenset(importlib.import_module("timm").list_models())


def one_line(error: Exception) -> str:
    """Return the message of a library's error on one line of at most 200 characters, without codes for a terminal."""
    text = "".join(letter if letter.isprintable() else " " for letter in _TERMINAL_CODE.sub("", str(error)))
    return " ".join(text.split())[:200] or type(error).__name__

"""How a network is built again without kd_sweep: its library, its arguments there, what of it was left out."""

import inspect
import json
from typing import Any

from torch import nn

from kd_sweep.errors import QueryError
from kd_sweep.export.networks import folder_loader
from kd_sweep.export.networks.trained_network import TrainedNetwork
from kd_sweep.networks.architectures import residual_classifier, resnet, wide_resnet
from kd_sweep.networks.entries.cifar_resnet import DEPTHS
from kd_sweep.networks.entries.wrn import shape_of
from kd_sweep.networks.model_libraries import create_network, library_of, torchvision_options
from kd_sweep.networks.recorded_pass import record_pass
from kd_sweep.networks.stems import first_halvings
from kd_sweep.study.recipe import Learner

OWN = "kd_sweep"
_SOURCES = {"CifarResNet": resnet, "WideResNet": wide_resnet}


def bare_network(network: TrainedNetwork) -> nn.Module:
    """Return the network as its library has it, without what kd_sweep puts around it."""
    wrapped = getattr(network.module, "network", None)
    return wrapped if isinstance(wrapped, nn.Module) else network.module


def architecture(network: TrainedNetwork) -> dict[str, Any]:
    """Return what `folder_loader.build` takes, as values that JSON can hold.

    Raises:
        QueryError: the network is one of a plug-in, whose source no other tool has. One line.
    """
    learner, images = network.learner, network.dataset
    if not learner.entry.is_built_in:
        raise QueryError(f"--to: hf cannot hold {learner.model!r}, which a plug-in builds; possible: onnx")
    shape: dict[str, Any] = {"num_classes": images.num_classes}
    if learner.model in DEPTHS:
        own = {"depth": DEPTHS[learner.model], "channels": images.channels, "width": getattr(learner, "width", None)}
        return _described(OWN, "CifarResNet", shape | own)
    wide = shape_of(learner.model)
    if wide is not None:
        own = {"depth": wide[0], "widening": wide[1], "channels": images.channels}
        return _described(OWN, "WideResNet", shape | own)
    library, name = library_of(learner.model, "model")
    if library == "torchvision":
        arguments = shape | torchvision_options(name, images.image_size)
    else:
        arguments = shape | {"in_chans": images.channels} | _timm_size(name, images.image_size)
    return _described(library, name, arguments) | _left_out(learner, network)


def loader_source(described: dict[str, Any]) -> str:
    """Return the one file that loads the network of a folder, with the source of its architecture if it is our own."""
    parts = [inspect.getsource(folder_loader)]
    if described["library"] == OWN:
        parts += [inspect.getsource(residual_classifier), inspect.getsource(_SOURCES[described["architecture"]])]
    lines = "\n\n".join(parts).splitlines()
    return "\n".join(line for line in lines if not line.startswith("from kd_sweep")) + "\n"


def _described(library: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"library": library, "architecture": name, "arguments": arguments, "stride_1": [], "left_out": []}


def _left_out(learner: Learner, network: TrainedNetwork) -> dict[str, list[str]]:
    """Return the names of what a small stem has changed."""
    if getattr(learner, "stem", "full") != "small":
        return {}
    images = network.dataset
    size = (images.channels, images.image_size)
    full = create_network(learner.model, images.num_classes, *size, "model")
    names = {module: name for name, module in full.named_modules()}
    halvings = first_halvings(record_pass(full, *size, "model"))
    convolutions = [names[one] for one in halvings if isinstance(one, nn.Conv2d)]
    return {"stride_1": convolutions, "left_out": [names[one] for one in halvings if names[one] not in convolutions]}


def _timm_size(name: str, image_size: int) -> dict[str, int]:
    """Return the size of the images as an argument, where the network has a fixed one."""
    import timm

    try:
        timm.create_model(name, img_size=image_size)
    except TypeError:
        return {}
    return {"img_size": image_size}


def is_of_timm(described: dict[str, Any]) -> bool:
    """Whether timm itself builds the network by its name."""
    return described["library"] == "timm" and not described["stride_1"] and not described["left_out"]


def as_json(value: Any) -> bytes:
    """Return a value as the bytes of a JSON file."""
    return json.dumps(value, indent=1).encode() + b"\n"

"""Initial weights of networks: from a local file, or published by torchvision or timm."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kd_sweep.errors import SpecError
from kd_sweep.networks.backbones import Backbone
from kd_sweep.networks.class_token_transformer import ClassTokenTransformer
from kd_sweep.networks.model_libraries import one_line
from kd_sweep.networks.plugin_networks import PluginClassifier
from kd_sweep.study.recipe import Learner

PUBLISHED = "pretrained"
WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state", "net", "weights", "state_dict_ema", "model_ema")
"""Keys of the tensors in checkpoints; those of training come before their running average."""
WRAPPED = (Backbone, ClassTokenTransformer, PluginClassifier)
"""Networks whose tensors have the names that they have without kd_sweep in `network`."""
AVERAGED = "n_averaged"
COUNTER = "num_batches_tracked"
"""Tensor of batch norm, unused with a fixed momentum; files of old versions of torch have none."""
AUXILIARY = ("AuxLogits", "aux1", "aux2")
"""Classifiers of inception_v3 and googlenet that only help to train, which networks are built without."""
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


def load_initial_weights(model: nn.Module, learner: Learner, field: str) -> None:
    """Replace the weights of ``model`` by those that `weights` of ``learner`` names.

    The classifier keeps its own where the file's has another shape: it was trained on other classes.

    Args:
        model: of `build_model`.
        learner: the network's section of the study.
        field: of `weights` in the study file, for messages.

    Raises:
        SpecError: the file is missing, damaged, or of another network; the model has no published weights.
    """
    if learner.weights is None:
        return
    network = model.network if isinstance(model, WRAPPED) else model
    expected = network.state_dict()
    if learner.weights == PUBLISHED:
        tensors = fitted_names(_published(learner, field), expected)
    else:
        tensors = _read(Path(learner.weights), field, expected)
    classifier = _classifier_names(model, network)
    kept = {
        name: tensor
        for name, tensor in tensors.items()
        if name not in classifier or (name in expected and tensor.shape == expected[name].shape)
    }
    _check_same_network(expected, kept, classifier, f"{field}: {learner.weights!r}", learner.model)
    network.load_state_dict(kept, strict=False)


def _classifier_names(model: Any, network: nn.Module) -> frozenset[str]:
    layer = getattr(model, "classifier", None)
    weight = layer.weight if isinstance(layer, nn.Linear) else model.classifier_weight
    for name, parameter in network.named_parameters():
        if parameter is weight:
            return frozenset({name, name.removesuffix("weight") + "bias"})
    return frozenset()


def _check_same_network(
    expected: Mapping[str, Tensor], kept: Mapping[str, Tensor], classifier: frozenset[str], label: str, model: str
) -> None:
    missing = [name for name in expected if name not in kept and name not in classifier and COUNTER not in name]
    foreign = [name for name in kept if name not in expected]
    if missing or foreign:
        problem = f"lacks {missing[0]!r}" if missing else f"has {foreign[0]!r}, which the model has not"
        raise SpecError(
            f"{label} is not of model {model!r}: it {problem} ({len(missing) + len(foreign)} tensors differ)"
        )
    for name, tensor in kept.items():
        if tensor.shape != expected[name].shape:
            raise SpecError(
                f"{label} is not of model {model!r}: {name!r} has shape {tuple(tensor.shape)}, "
                f"not {tuple(expected[name].shape)}"
            )


def _read(path: Path, field: str, expected: Collection[str]) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return fitted_names(load_file(path), expected)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise almost anything
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        if foreign is not None:
            raise SpecError(
                f"{field}: {path} cannot be read as weights (beside tensors it holds {foreign[1]}, which is not "
                "unpickled); save the model's state_dict() alone"
            ) from None
        raise SpecError(f"{field}: {path} cannot be read as weights ({one_line(error)})") from None
    tensors = _unwrapped(content)
    if tensors is None:
        raise SpecError(f"{field}: {path} holds no tensors by name, alone or under {' or '.join(map(repr, WRAPPERS))}")
    return fitted_names(tensors, expected)


def _unwrapped(content: Any) -> dict[str, Tensor] | None:
    """Return the tensors by name in a checkpoint; None where there are none."""
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            return _unwrapped(content[key])
    if (
        not isinstance(content, dict)
        or not content
        or not all(isinstance(tensor, Tensor) for tensor in content.values())
    ):
        return None
    return {str(name): tensor for name, tensor in content.items()}


def fitted_names(tensors: Mapping[str, Tensor], expected: Collection[str]) -> dict[str, Tensor]:
    """Return ``tensors`` by the names that the network has for them.

    Removed are prefixes that all names share, of wrappers such as DataParallel (`module.`), torch.compile
    (`_orig_mod.`) or Lightning (`model.`), and the count of an averaged model. As torchvision does with its own files,
    auxiliary classifiers are left out, and old names of DenseNet (`norm.1`) are replaced.

    Args:
        tensors: by name in the file.
        expected: the network's names.
    """
    named = {name: tensor for name, tensor in tensors.items() if name != AVERAGED}
    own = {name.partition(".")[0] for name in expected}
    while named:
        first = {name.partition(".")[0] for name in named}
        if len(first) > 1 or first <= own or not all("." in name for name in named):
            break
        named = {name.partition(".")[2]: tensor for name, tensor in named.items()}
    named = {OLD_DENSENET.sub(r"\1\2", name): tensor for name, tensor in named.items()}
    auxiliary = tuple(f"{head}." for head in AUXILIARY if head not in own)
    return {name: tensor for name, tensor in named.items() if not name.startswith(auxiliary)}


def check_published_weights(learner: Learner, field: str) -> None:
    """Raise SpecError where no library publishes weights of ``learner.model``. Nothing is downloaded."""
    if not learner.is_of_library:
        raise SpecError(f"{field}: no weights of {learner.model!r} are published; possible: the path of a file, null")
    from kd_sweep.networks.model_libraries import check_published

    check_published(learner.model, field)


def _published(learner: Learner, field: str) -> dict[str, Tensor]:
    check_published_weights(learner, field)
    from kd_sweep.networks.model_libraries import published_weights

    return published_weights(learner.model, field)

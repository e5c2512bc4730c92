"""Weights that training starts from: a local file, or what torchvision and timm publish."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kd_sweep.errors import SpecError
from kd_sweep.networks.model_libraries import one_line
from kd_sweep.networks.model_names import is_built_in
from kd_sweep.study.recipe import Learner

PUBLISHED = "pretrained"
WRAPPERS = ("state_dict", "model", "model_state_dict", "model_state", "net", "weights", "state_dict_ema", "model_ema")
"""Under which checkpoints keep the tensors; those of training before their running average."""
AVERAGED = "n_averaged"
COUNTER = "num_batches_tracked"
"""Of batch norm with a fixed momentum, which does not read it; files of old versions of torch have none."""
AUXILIARY = ("AuxLogits", "aux1", "aux2")
"""Classifiers of inception_v3 and googlenet that only help to train, which networks are built without."""
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")


def load_initial_weights(model: nn.Module, learner: Learner, where: str) -> None:
    """Replace the weights of ``model`` by those that `weights` of ``learner`` names.

    The classifier keeps its own where the file's has another shape: it was trained on other classes.

    Args:
        model: of `build_model`.
        learner: the network's section of the study.
        where: place of `weights` in the study, for messages.

    Raises:
        SpecError: the file is missing, damaged, or of another network; the model has no published weights.
    """
    if learner.weights is None:
        return
    inner = getattr(model, "network", None)
    network: nn.Module = inner if isinstance(inner, nn.Module) else model
    expected = network.state_dict()
    if learner.weights == PUBLISHED:
        tensors = fitted_names(_published(learner, where), expected)
    else:
        tensors = _read(Path(learner.weights), where, expected)
    classifier = _classifier_names(model, network)
    kept = {
        name: tensor
        for name, tensor in tensors.items()
        if name not in classifier or (name in expected and tensor.shape == expected[name].shape)
    }
    _check_same_network(expected, kept, classifier, f"{where}: {learner.weights!r}", learner.model)
    network.load_state_dict(kept, strict=False)


def _classifier_names(model: Any, network: nn.Module) -> frozenset[str]:
    for name, parameter in network.named_parameters():
        if parameter is model.classifier.weight:
            return frozenset({name, name.removesuffix("weight") + "bias"})
    return frozenset()


def _check_same_network(
    expected: Mapping[str, Tensor], kept: Mapping[str, Tensor], classifier: frozenset[str], what: str, model: str
) -> None:
    missing = [name for name in expected if name not in kept and name not in classifier and COUNTER not in name]
    foreign = [name for name in kept if name not in expected]
    if missing or foreign:
        problem = f"lacks {missing[0]!r}" if missing else f"has {foreign[0]!r}, which the model has not"
        raise SpecError(
            f"{what} is not of model {model!r}: it {problem} ({len(missing) + len(foreign)} tensors differ)"
        )
    for name, tensor in kept.items():
        if tensor.shape != expected[name].shape:
            raise SpecError(
                f"{what} is not of model {model!r}: {name!r} has shape {tuple(tensor.shape)}, "
                f"not {tuple(expected[name].shape)}"
            )


def _read(path: Path, where: str, expected: Collection[str]) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return fitted_names(load_file(path), expected)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files raise almost anything
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        if foreign is not None:
            raise SpecError(
                f"{where}: {path} cannot be read as weights (beside tensors it holds {foreign[1]}, which is not "
                "unpickled); save the model's state_dict() alone"
            ) from None
        raise SpecError(f"{where}: {path} cannot be read as weights ({one_line(error)})") from None
    tensors = _unwrapped(content)
    if tensors is None:
        raise SpecError(f"{where}: {path} holds no tensors by name, alone or under {' or '.join(map(repr, WRAPPERS))}")
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

    Taken off are prefixes that all names share, of wrappers such as DataParallel (`module.`), torch.compile
    (`_orig_mod.`) or Lightning (`model.`), and the count of an averaged model. What torchvision leaves out or renames
    in its own files is treated so here: auxiliary classifiers, and the old names of DenseNet (`norm.1`).

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


def check_published_weights(learner: Learner, where: str) -> None:
    """Raise SpecError where nobody publishes weights of ``learner.model``. Nothing is downloaded."""
    if is_built_in(learner.model):
        raise SpecError(f"{where}: no weights of {learner.model!r} are published; possible: the path of a file, null")
    from kd_sweep.networks.model_libraries import check_published

    check_published(learner.model, where)


def _published(learner: Learner, where: str) -> dict[str, Tensor]:
    check_published_weights(learner, where)
    from kd_sweep.networks.model_libraries import published_weights

    return published_weights(learner.model, where)

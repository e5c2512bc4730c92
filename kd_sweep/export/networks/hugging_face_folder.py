"""A trained network as a folder for the Hugging Face Hub: weights, configuration, model card, and what loads it."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_sweep.export.export_paths import begin_folder, write_file
from kd_sweep.export.networks.model_card import model_card
from kd_sweep.export.request import Request, Written
from kd_sweep.storage.temporary_folders import scratch_folder

if TYPE_CHECKING:
    from kd_sweep.export.networks.trained_network import Floats, TrainedNetwork

WEIGHTS, CONFIG, CARD, LOADER = "model.safetensors", "config.json", "README.md", "load.py"


def write_hugging_face(request: Request) -> Written:
    """Write the folder, after a comparison of what is loaded from it with the network on real images.

    Raises:
        KdSweepError: the network that is loaded gives other logits; nothing is written.
        QueryError: a plug-in builds the network. One line.
    """
    from kd_sweep.export.networks.trained_network import trained_network

    out = request.out
    network = trained_network(request)
    files = _files(request, network)
    with scratch_folder("export") as scratch:
        for name, content in files.items():
            (scratch / name).write_bytes(content)
        network.check(_logits(scratch, network), "the network that is loaded from the folder")
    changed = [begin_folder(out, request.mark)]
    if (out / WEIGHTS).is_file() and (out / WEIGHTS).read_bytes() != files[WEIGHTS]:
        (out / WEIGHTS).unlink()  # rather none than those of another trial under the new names
    changed += [write_file(out / name, content) for name, content in files.items()]
    return Written(any(changed), f"{network.name} of trial {network.trial.trial_id}")


def _files(request: Request, network: "TrainedNetwork") -> dict[str, bytes]:
    """Return the content of each file; the weights come last."""
    from safetensors.torch import save

    from kd_sweep.export.networks.architecture import architecture, as_json, bare_network, is_of_timm, loader_source

    described = architecture(network)
    config: dict[str, Any] = {
        "kd_sweep": described | {"preprocessing": network.preprocessing, "origin": network.origin}
    }
    if is_of_timm(described):
        config |= _of_timm(network, described)
    weights = {name: tensor.contiguous().clone() for name, tensor in bare_network(network).state_dict().items()}
    return {
        CONFIG: as_json(config),
        LOADER: loader_source(described).encode(),
        CARD: model_card(request, network, of_timm=is_of_timm(described)).encode(),
        WEIGHTS: save(weights, metadata={"format": "pt"}),
    }


def _of_timm(network: "TrainedNetwork", described: dict[str, Any]) -> dict[str, Any]:
    """Return what timm reads of a folder's configuration."""
    data = network.dataset
    arguments = dict(described["arguments"])
    pretrained = {
        "input_size": [data.channels, data.image_size, data.image_size],
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "center",
        "mean": list(data.mean),
        "std": list(data.std),
        "num_classes": arguments.pop("num_classes"),
        "license": "unknown",
    }
    return {
        "architecture": described["architecture"],
        "num_classes": pretrained["num_classes"],
        "label_names": list(data.class_names),
        "model_args": arguments,
        "pretrained_cfg": pretrained,
    }


def _logits(folder: Path, network: "TrainedNetwork") -> "Floats":
    """Return what the network gives that is loaded as the card says: by timm where that can, else by `load.py`."""
    import torch

    config = (folder / CONFIG).read_text()
    if '"pretrained_cfg"' in config:
        import timm

        loaded = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    else:
        spec = importlib.util.spec_from_file_location("kd_sweep_export_loader", folder / LOADER)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        loaded = module.load(folder)
    with torch.no_grad():
        logits_BC: Floats = loaded(network.images_BDHW).numpy()
    return logits_BC

"""Loads the network of this folder: ``load()`` returns it, ``preprocess(image)`` makes its input of a PIL image.

Needs torch, safetensors, numpy and Pillow, and the library that `config.json` names.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from PIL import Image, ImageOps
from torch import nn

FOLDER = Path(__file__).resolve().parent


def load(folder: str | Path = FOLDER) -> nn.Module:
    """Return the network, in evaluation mode: images (batch, channels, height, width) in, logits out."""
    network = build(_config(folder))
    network.load_state_dict(safetensors.torch.load_file(Path(folder) / "model.safetensors"))
    return network.eval()


def preprocess(image: Image.Image, folder: str | Path = FOLDER) -> torch.Tensor:
    """Return an image of 8 bits per channel as the network takes it, a batch of one."""
    told = _config(folder)["preprocessing"]
    image = ImageOps.exif_transpose(image).convert("RGB")
    size, side = told["image_size"], min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    box = (left, top, left + side, top + side)
    square = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    levels = np.array(square.convert("L") if told["channels"] == 1 else square).reshape(size, size, -1)
    pixels = torch.from_numpy(levels).permute(2, 0, 1).float()
    mean, std = (torch.tensor(told[name])[:, None, None] * 255 for name in ("mean", "std"))
    return ((pixels - mean) / std)[None]


def build(config: dict[str, Any]) -> nn.Module:
    """Return the network without its weights."""
    arguments, name = config["arguments"], config["architecture"]
    if config["library"] == "timm":
        network: nn.Module = importlib.import_module("timm").create_model(name, **arguments)
    elif config["library"] == "torchvision":
        network = importlib.import_module("torchvision.models").get_model(name, weights=None, **arguments)
        if config["preprocessing"]["channels"] != 3:
            _replace_first_convolution(network, config["preprocessing"]["channels"])
    else:
        network = globals()[name](**arguments)
    for convolution in config["stride_1"]:
        setattr(network.get_submodule(convolution), "stride", (1, 1))  # noqa: B010
    for pooling in config["left_out"]:
        _replace(network, pooling, nn.Identity())
    return network


def _config(folder: str | Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((Path(folder) / "config.json").read_text())["kd_sweep"]
    return config


def _replace_first_convolution(network: nn.Module, channels: int) -> None:
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            shape: dict[str, Any] = {key: getattr(module, key) for key in ("kernel_size", "stride", "padding")}
            first = nn.Conv2d(channels, module.out_channels, bias=module.bias is not None, **shape)
            return _replace(network, name, first)
    raise ValueError("the network has no convolution")


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, module)

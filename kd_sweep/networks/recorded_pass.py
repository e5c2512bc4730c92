"""The record of one pass through a network, module by module, which shows its parts without knowledge of its code."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kd_sweep.errors import SpecError
from kd_sweep.networks.model_libraries import one_line


class Step(NamedTuple):
    """A module that gave a tensor."""

    module: nn.Module
    input_shape: tuple[int, ...]
    """Of its first argument; empty where that is no tensor."""
    output_shape: tuple[int, ...]


def record_pass(network: nn.Module, channels: int, image_size: int, label: str) -> list[Step]:
    """Return the steps of one pass of two images in evaluation mode, in order; the network is left in training mode.

    Args:
        network: maps images to logits.
        channels: of the images.
        image_size: height and width in pixels.
        label: begins the message: the field and the network.

    Raises:
        SpecError: it does not take such images.
    """
    steps: list[Step] = []

    def record(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            shape = tuple(args[0].shape) if args and isinstance(args[0], Tensor) else ()
            steps.append(Step(module, shape, tuple(output.shape)))

    handles = [module.register_forward_hook(record) for module in network.modules()]
    images_BDHW = torch.zeros(2, channels, image_size, image_size, device=next(network.parameters()).device)
    try:
        with torch.no_grad():
            network.eval()(images_BDHW)
    except Exception as error:
        images = f"images of data.image_size {image_size} with {channels} channels"
        raise SpecError(f"{label} does not take {images} ({one_line(error)})") from error
    finally:
        network.train()
        for handle in handles:
            handle.remove()
    return steps

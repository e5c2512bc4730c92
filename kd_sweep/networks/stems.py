"""The small stem: networks made for 224 pixels, fitted to small images by leaving out their first two halvings."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from kd_sweep.networks.recorded_pass import Step

NUM_HALVINGS = 2
"""The stem of a network made for 224 pixels leaves a quarter of them, too little of a small image."""


def first_halvings(steps: Sequence[Step]) -> list[nn.Module]:
    """Return the convolutions and poolings that make the first two halvings of a pass, in order.

    Parallel paths, as in a residual block, halve the same map and count once. Empty where there are fewer
    halvings, or where one of them divides by more than two.
    """
    strided = [step for step in steps if _stride(step.module) > 1]
    heights = list(dict.fromkeys(step.input_shape[2] for step in strided))[:NUM_HALVINGS]
    first = [step.module for step in strided if step.input_shape[2] in heights]
    return first if len(heights) == NUM_HALVINGS and all(_stride(module) == 2 for module in first) else []


def leave_out(network: nn.Module, halvings: Sequence[nn.Module]) -> None:
    """Give the convolutions among ``halvings`` stride 1, and remove the poolings.

    No weight changes its shape or its name.
    """
    names = {module: name for name, module in network.named_modules()}
    for module in halvings:
        if isinstance(module, nn.Conv2d):
            module.stride = (1, 1)
        else:
            parent, _, attribute = names[module].rpartition(".")
            setattr(network.get_submodule(parent), attribute, nn.Identity())


def _stride(module: nn.Module) -> int:
    """Return the factor by which a module divides the size of a map; 1 unless it is a convolution or pooling."""
    if not isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        return 1
    stride: Any = module.stride
    return max(stride) if isinstance(stride, tuple) else int(stride)

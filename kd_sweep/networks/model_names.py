"""The names of built-in networks, and the rules for their width and stem. Nothing is built here."""

import re

from kd_sweep.errors import SpecError
from kd_sweep.study.recipe import DEFAULT_WIDTH, Learner

# 6n + 2; `resnet50` is torchvision's well-known one, not the CIFAR-style network of 50 layers.
_DEPTHS = {f"resnet{depth}": depth for depth in range(8, 111, 6) if depth != 50}

BUILT_IN: tuple[str, ...] = tuple(_DEPTHS)
"""The CIFAR-style residual networks, `resnet8` to `resnet110`."""

WIDE_EXAMPLES = ("wrn-10-1", "wrn-16-1", "wrn-16-2", "wrn-16-4", "wrn-16-8", "wrn-28-10", "wrn-40-1", "wrn-40-2")
"""Some of the wide residual networks that have been published: `wrn-DEPTH-WIDENING`, with a depth of 6n + 4."""
_WIDE = re.compile(r"wrn-([1-9][0-9]{1,2})-([1-9][0-9]?)")


def wide_shape_of(model: str) -> tuple[int, int] | None:
    """Return depth and widening factor of a wide residual network, None for any other name."""
    match = _WIDE.fullmatch(model)
    if match is None or int(match[1]) % 6 != 4:
        return None
    return int(match[1]), int(match[2])


def is_built_in(model: str) -> bool:
    """Return whether a network is built here and not by another library."""
    return depth_of(model) is not None or wide_shape_of(model) is not None


def depth_of(model: str) -> int | None:
    """Return the depth of a built-in network, None for any other name."""
    return _DEPTHS.get(model)


def check_built_in(learner: Learner, field: str) -> None:
    """Raise SpecError where a width or a stem is set that the model does not have; ``field`` is the model's.

    Only a pass through a network of another library tells whether its stem can be made small.
    """
    if learner.stem == "small" and is_built_in(learner.model):
        raise no_small_stem(learner, field)
    if learner.width != DEFAULT_WIDTH and depth_of(learner.model) is None:
        raise SpecError(
            f"{field.removesuffix('model')}width: {learner.width} has no meaning for model {learner.model!r}, "
            f"which has one width; possible: leave it out, or take a model of {BUILT_IN[0]} … {BUILT_IN[-1]}"
        )


def no_small_stem(learner: Learner, field: str) -> SpecError:
    """Return the error that `stem: small` has no meaning for the model; ``field`` is the model's."""
    return SpecError(
        f"{field.removesuffix('model')}stem: 'small' has no meaning for model {learner.model!r}, which does not begin "
        f"with two halvings by convolution or pooling; possible: full, or a model such as resnet18 or mobilenet_v2"
    )

"""Which names are built in, without building anything."""

from kd_sweep.errors import SpecError
from kd_sweep.study.spec import Learner

# 6n + 2; `resnet50` is torchvision's well-known one, not the CIFAR-style network of 50 layers.
_DEPTHS = {f"resnet{depth}": depth for depth in range(8, 111, 6) if depth != 50}

BUILT_IN: tuple[str, ...] = tuple(_DEPTHS)
"""The CIFAR-style residual networks, `resnet8` to `resnet110`."""


def depth_of(model: str) -> int | None:
    """Return the depth of a built-in network, None for any other name."""
    return _DEPTHS.get(model)


def check_width(learner: Learner, where: str) -> None:
    """Raise SpecError where a width is set that the model, which stands at ``where``, does not have."""
    if learner.width is not None and depth_of(learner.model) is None:
        place = where.removesuffix("model")
        raise SpecError(
            f"{place}width: {learner.width} has no meaning for model {learner.model!r}, which has one width; "
            f"possible: null, or a model of {BUILT_IN[0]} … {BUILT_IN[-1]}"
        )

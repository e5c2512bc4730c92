"""The decorators that register entries, one for each kind."""

from collections.abc import Callable
from typing import TypeVar

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import LOSS, NETWORK
from kd_sweep.catalogue.parameters import NoParameters, Parameters

T = TypeVar("T")


def loss(name: str, *, parameters: type[Parameters] = NoParameters, version: str = "1") -> Callable[[T], T]:
    """Register what a student learns from its teachers, for `distillation.loss`.

    The function gets a `LossInputs` and the parameters, and returns a scalar tensor that depends on the student's
    logits. `distillation.alpha` weighs it against the cross-entropy with the labels.

    Args:
        name: letters, digits and `_`; a study selects it as `package:name`.
        parameters: their class.
        version: another one makes other trials.
    """
    return register(LOSS, name, parameters=parameters, version=version)


def network(name: str, *, parameters: type[Parameters] = NoParameters, version: str = "1") -> Callable[[T], T]:
    """Register a network, for `teacher.model` and `student.model`.

    The function or class gets the number of classes C, the channels of the images, their height and width in pixels,
    and the parameters. It returns an untrained `nn.Module` with parameters, which gives logits (B, C) for float32
    images (B, channels, height, width), as well in training as in evaluation mode. Its random weights come from torch,
    whose state is a function of the trial's seed.

    Attention maps need a feature map. It is recognised where the last layer is an `nn.Linear` that reads the map's mean
    over its pixels. Other networks have the attributes of `Classifier` (`networks/classifier_interface.py`):
    `features`, `features_channels_last`, `classifier_weight` and `forward_with_features`.

    Args:
        name: letters, digits and `_`; a study selects it as `package:name`.
        parameters: their class.
        version: another one makes other teachers and trials.
    """
    return register(NETWORK, name, parameters=parameters, version=version)

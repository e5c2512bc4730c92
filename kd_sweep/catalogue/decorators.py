"""The decorators that register entries, one for each kind."""

from collections.abc import Callable
from typing import TypeVar

from kd_sweep.catalogue.entries import register
from kd_sweep.catalogue.kinds import LOSS
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

"""Loss `none`: the student learns from the labels alone, and is only compared with its teachers."""

from typing import TYPE_CHECKING

from kd_sweep.catalogue.decorators import loss
from kd_sweep.catalogue.parameters import NoParameters

if TYPE_CHECKING:
    from torch import Tensor

    from kd_sweep.distill.loss_inputs import LossInputs


@loss("none")
def none(inputs: "LossInputs", _: NoParameters) -> "Tensor":
    """Return 0. Where a study selects this loss, the labels have all the weight, whatever `alpha` is."""
    return inputs.student_logits_BC.new_zeros(())

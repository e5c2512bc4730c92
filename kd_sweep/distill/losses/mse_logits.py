"""Loss `mse_logits`: the mean squared error of the student's logits against its teachers'."""

from typing import TYPE_CHECKING

from kd_sweep.catalogue.decorators import loss
from kd_sweep.catalogue.parameters import NoParameters

if TYPE_CHECKING:
    from torch import Tensor

    from kd_sweep.distill.loss_inputs import LossInputs


@loss("mse_logits")
def mse_logits(inputs: "LossInputs", _: NoParameters) -> "Tensor":
    """Return the squared difference of the logits, mean over images, classes and teachers."""
    from kd_sweep.distill.divergences import logit_mse

    return (inputs.shares_M * logit_mse(inputs.student_logits_BC, inputs.teacher_logits_MBC)).sum()

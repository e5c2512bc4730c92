"""Loss `kl`: the divergence of the student's softened probabilities from its teachers'."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from kd_sweep.catalogue.decorators import loss
from kd_sweep.catalogue.parameters import Parameters

if TYPE_CHECKING:
    from torch import Tensor

    from kd_sweep.distill.loss_inputs import LossInputs

TEMPERATURES = (0.01, 100.0)
"""Below, softened logits can overflow; above, temperature² * KL is mostly what rounding to float32 leaves of the KL."""


class KlParameters(Parameters):
    """Of `kl`."""

    temperature: float = Field(4.0, ge=TEMPERATURES[0], le=TEMPERATURES[1])
    """What logits are divided by before the softmax."""
    ensemble_reducer: Literal["teachers", "probabilities"] = "teachers"
    """`teachers`: mean over teachers of the loss against each. `probabilities`: the loss against the mean of their
    softened probabilities."""


@loss("kl", parameters=KlParameters)
def kl(inputs: "LossInputs", parameters: KlParameters) -> "Tensor":
    """Return temperature² * KL(teacher || student) (Hinton et al., arXiv 1503.02531)."""
    from kd_sweep.distill.divergences import kl_divergence, softened, softened_teachers

    temperature = parameters.temperature
    teacher_log_MBC, shares_M = softened_teachers(inputs, temperature, parameters.ensemble_reducer)
    divergence_M = kl_divergence(softened(inputs.student_logits_BC, temperature), teacher_log_MBC)
    # T² keeps the size of the gradient independent of T (arXiv 1503.02531, section 2.1).
    return temperature**2 * (shares_M * divergence_M).sum()

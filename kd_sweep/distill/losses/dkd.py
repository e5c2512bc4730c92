"""Loss `dkd`: decoupled knowledge distillation, whose two parts have weights of their own."""

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from kd_sweep.catalogue.decorators import loss
from kd_sweep.distill.losses.kl import KlParameters

if TYPE_CHECKING:
    from torch import Tensor

    from kd_sweep.distill.loss_inputs import LossInputs

MAX_WEIGHT = 1e6
"""Of one part against the other: float32 resolves no smaller share than 1e-7."""


class DkdParameters(KlParameters):
    """Of `dkd`."""

    target_class_weight: float = Field(1.0, ge=0.0, le=MAX_WEIGHT)
    """Weight of the part about the labelled class against all others (alpha in arXiv 2203.08679)."""
    non_target_class_weight: float = Field(8.0, ge=0.0, le=MAX_WEIGHT)
    """Weight of the part about the other classes among themselves (beta in arXiv 2203.08679)."""

    @model_validator(mode="after")
    def _teachers_teach_something(self) -> "DkdParameters":
        if self.target_class_weight == self.non_target_class_weight == 0.0:
            raise ValueError("target_class_weight and non_target_class_weight are both 0, and nothing would be taught")
        return self


@loss("dkd", parameters=DkdParameters)
def dkd(inputs: "LossInputs", parameters: DkdParameters) -> "Tensor":
    """Return temperature² * decoupled KD (Zhao et al. 2022, arXiv 2203.08679, equation 8)."""
    from kd_sweep.distill.divergences import decoupled_divergence, softened, softened_teachers

    temperature = parameters.temperature
    teacher_log_MBC, shares_M = softened_teachers(inputs, temperature, parameters.ensemble_reducer)
    divergence_M = decoupled_divergence(
        softened(inputs.student_logits_BC, temperature),
        teacher_log_MBC,
        inputs.labels_B,
        parameters.target_class_weight,
        parameters.non_target_class_weight,
    )
    return temperature**2 * (shares_M * divergence_M).sum()

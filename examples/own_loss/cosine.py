"""A distillation loss: how far the directions of the student's and the teachers' centred logits are apart."""

from pydantic import Field
from torch.nn.functional import cosine_similarity

import kd_sweep


class Cosine(kd_sweep.Parameters):
    """The parameters of the loss; they are keys of `distillation` in a study file."""

    power: float = Field(1.0, gt=0)
    """Of the distance, which is from 0 to 2; above 1, small ones count less."""


@kd_sweep.loss("cosine", parameters=Cosine)
def cosine(inputs, parameters):
    """Return the mean over teachers and images; B images, C classes, M teachers."""
    student_BC = inputs.student_logits_BC - inputs.student_logits_BC.mean(-1, keepdim=True)
    teachers_MBC = inputs.teacher_logits_MBC - inputs.teacher_logits_MBC.mean(-1, keepdim=True)
    distance_MB = (1 - cosine_similarity(student_BC[None], teachers_MBC, dim=-1)).clamp(min=1e-6)
    return inputs.shares_M @ (distance_MB**parameters.power).mean(1)

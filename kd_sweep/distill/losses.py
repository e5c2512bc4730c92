"""The distillation loss.

Shapes: B batch, C classes, M teachers.
"""

import torch.nn.functional as F
from torch import Tensor

from kd_sweep.study.spec import Distillation


def distillation_loss(
    student_logits_BC: Tensor,
    teacher_logits_MBC: Tensor,
    labels_B: Tensor,
    spec: Distillation,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the scalar mean over teachers of ``alpha * CE + (1 - alpha) * match`` (Hinton et al., arXiv 1503.02531).

    Args:
        student_logits_BC: the student's logits; gradients flow into them.
        teacher_logits_MBC: each teacher's logits on the same images; no gradient is wanted there.
        labels_B: hard labels, int64.
        spec: the loss, its temperature, and alpha, the weight of the hard label.
        label_smoothing: mass that the hard label gives to all classes alike.
    """
    if spec.alpha == 1.0:
        return F.cross_entropy(student_logits_BC, labels_B, label_smoothing=label_smoothing)
    match = (
        temperature_scaled_kl(student_logits_BC, teacher_logits_MBC, spec.temperature)
        if spec.loss == "kl"
        else logit_mse(student_logits_BC, teacher_logits_MBC)
    )
    if spec.alpha == 0.0:
        return match
    hard = F.cross_entropy(student_logits_BC, labels_B, label_smoothing=label_smoothing)
    return spec.alpha * hard + (1.0 - spec.alpha) * match


def temperature_scaled_kl(student_logits_BC: Tensor, teacher_logits_MBC: Tensor, temperature: float) -> Tensor:
    """Return ``T² * KL(teacher || student)`` at temperature ``T``, mean over teachers and images, in nats.

    The factor T² keeps the size of the gradient independent of T (arXiv 1503.02531, section 2.1).
    """
    num_pairs = teacher_logits_MBC.shape[0] * teacher_logits_MBC.shape[1]
    student_MBC = F.log_softmax(student_logits_BC / temperature, dim=-1).expand_as(teacher_logits_MBC)
    teacher_MBC = F.log_softmax(teacher_logits_MBC / temperature, dim=-1)
    divergence = F.kl_div(student_MBC, teacher_MBC, reduction="sum", log_target=True)
    return divergence * (temperature**2 / num_pairs)


def logit_mse(student_logits_BC: Tensor, teacher_logits_MBC: Tensor) -> Tensor:
    """Return the squared difference of the logits, mean over teachers, images and classes."""
    return (student_logits_BC - teacher_logits_MBC).square().mean()

"""The divergences of outputs that losses are made of.

Shapes: B batch, C classes, M teachers.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_sweep.distill.loss_inputs import LossInputs


def softened(logits: Tensor, temperature: float) -> Tensor:
    """Return the logarithms of the probabilities at ``temperature``, of the shape of ``logits``, classes last."""
    return F.log_softmax(logits / temperature, dim=-1)


def softened_teachers(inputs: LossInputs, temperature: float, reducer: str) -> tuple[Tensor, Tensor]:
    """Return the logarithms of the teachers' softened probabilities, and what each counts.

    Args:
        inputs: of the loss.
        temperature: of the softening.
        reducer: `teachers` keeps them apart, (M, B, C) and (M,); `probabilities` takes their mean, (1, B, C) and (1,).
    """
    if reducer == "probabilities":
        mean_BC = mean_softened(inputs.teacher_logits_MBC, temperature, inputs.shares_M)
        return mean_BC[None], torch.ones_like(inputs.shares_M[:1])
    return softened(inputs.teacher_logits_MBC, temperature), inputs.shares_M


def mean_softened(teacher_logits_MBC: Tensor, temperature: float, shares_M: Tensor) -> Tensor:
    """Return the logarithm of the members' mean probabilities at ``temperature``, (B, C)."""
    return torch.logsumexp(softened(teacher_logits_MBC, temperature) + shares_M.log()[:, None, None], dim=0)


def kl_divergence(student_log_BC: Tensor, teacher_log_MBC: Tensor) -> Tensor:
    """Return KL(teacher || student) of log-probabilities, in nats, mean over images, (M,)."""
    student_log_MBC = student_log_BC.expand_as(teacher_log_MBC)
    divergence_MBC = F.kl_div(student_log_MBC, teacher_log_MBC, reduction="none", log_target=True)
    return divergence_MBC.sum((1, 2)) / student_log_BC.shape[0]


def decoupled_divergence(
    student_log_BC: Tensor, teacher_log_MBC: Tensor, labels_B: Tensor, target_weight: float, non_target_weight: float
) -> Tensor:
    """Return decoupled KD of log-probabilities, mean over images, (M,) (Zhao et al. 2022, arXiv 2203.08679, eq. 8).

    The first part is KL(teacher || student) of the two-way choice, labelled class or any other; the second KL of the
    other classes among themselves. Plain KL weighs the second by the teacher's probability of the other classes, which
    is small where the teacher is sure. At least two classes are needed.
    """
    label_BA = labels_B[:, None]
    num_others = student_log_BC.shape[1] - 1
    indices_A = torch.arange(num_others, device=labels_B.device)
    others_BA = indices_A + (indices_A >= label_BA)

    def parts(log_BC: Tensor) -> tuple[Tensor, Tensor]:
        other_log_BA = log_BC.gather(1, others_BA)
        # log(1 - p) of a p near 1, without the cancellation.
        any_other_log_B1 = torch.logsumexp(other_log_BA, 1, keepdim=True)
        return torch.cat([log_BC.gather(1, label_BA), any_other_log_B1], 1), other_log_BA - any_other_log_B1

    student_choice_B2, student_others_BA = parts(student_log_BC)
    choices, others = zip(*(parts(teacher_log_BC) for teacher_log_BC in teacher_log_MBC), strict=True)
    target_M = kl_divergence(student_choice_B2, torch.stack(choices))
    non_target_M = kl_divergence(student_others_BA, torch.stack(others))
    return target_weight * target_M + non_target_weight * non_target_M


def logit_mse(student_logits_BC: Tensor, teacher_logits_MBC: Tensor) -> Tensor:
    """Return the squared difference of the logits, mean over images and classes, (M,)."""
    return (student_logits_BC - teacher_logits_MBC).square().mean((1, 2))

"""The distillation loss.

Shapes: B batch, C classes, M teachers.
"""

from functools import lru_cache
from typing import assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_sweep.augmentation.mixing import Partners
from kd_sweep.study.recipe import Distillation


def distillation_loss(
    student_logits_BC: Tensor,
    teacher_logits_MBC: Tensor,
    labels_B: Tensor,
    spec: Distillation,
    label_smoothing: float = 0.0,
    partners: Partners | None = None,
) -> Tensor:
    """Return the scalar ``alpha * CE + (1 - alpha) * match`` (Hinton et al., arXiv 1503.02531).

    Args:
        student_logits_BC: the student's logits; gradients flow into them.
        teacher_logits_MBC: each teacher's logits on the same images; no gradient is wanted there.
        labels_B: hard labels, int64.
        spec: the match, how it sums over the teachers, and alpha, the weight of the hard label.
        label_smoothing: mass that the hard label gives to all classes alike.
        partners: what is mixed into the images; it counts for CE alone.
    """
    if spec.loss == "none" or spec.alpha == 1.0:
        return label_loss(student_logits_BC, labels_B, label_smoothing, partners)
    match = _match(student_logits_BC, teacher_logits_MBC, labels_B, spec)
    if spec.alpha == 0.0:
        return match
    hard = label_loss(student_logits_BC, labels_B, label_smoothing, partners)
    return spec.alpha * hard + (1.0 - spec.alpha) * match


def label_loss(
    logits_BC: Tensor, labels_B: Tensor, label_smoothing: float = 0.0, partners: Partners | None = None
) -> Tensor:
    """Return the scalar cross-entropy with the labels.

    With ``partners`` each label counts as its image's share, which is the cross-entropy with the mixed label
    (arXiv 1710.09412, eq. 1), smoothed or not: it is linear in the label.
    """
    if partners is None:
        return F.cross_entropy(logits_BC, labels_B, label_smoothing=label_smoothing)
    own_B, other_B = (
        F.cross_entropy(logits_BC, each_B, label_smoothing=label_smoothing, reduction="none")
        for each_B in (labels_B, partners.labels_B)
    )
    return ((1 - partners.share_B) * own_B + partners.share_B * other_B).mean()


def teacher_shares(num_teachers: int, weights: tuple[float, ...] | None) -> list[float]:
    """Return what each of the first ``num_teachers`` counts for; together 1."""
    used = (1.0,) * num_teachers if weights is None else weights[:num_teachers]
    return [weight / sum(used) for weight in used]


def softened(logits: Tensor, temperature: float) -> Tensor:
    """Return the logarithms of the probabilities at ``temperature``, of the shape of ``logits``, classes last."""
    return F.log_softmax(logits / temperature, dim=-1)


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


def _match(student_logits_BC: Tensor, teacher_logits_MBC: Tensor, labels_B: Tensor, spec: Distillation) -> Tensor:
    shares = teacher_shares(len(teacher_logits_MBC), spec.teacher_weights)
    shares_M = _kept_tensor(tuple(shares), student_logits_BC.dtype, student_logits_BC.device)
    if spec.loss == "mse_logits":
        return (shares_M * logit_mse(student_logits_BC, teacher_logits_MBC)).sum()
    student_log_BC = softened(student_logits_BC, spec.temperature)
    match spec.ensemble_reducer:
        case "probabilities":
            teacher_log_MBC = mean_softened(teacher_logits_MBC, spec.temperature, shares_M)[None]
            shares_M = torch.ones_like(shares_M[:1])
        case "teachers":
            teacher_log_MBC = softened(teacher_logits_MBC, spec.temperature)
        case _:
            assert_never(spec.ensemble_reducer)
    match spec.loss:
        case "kl":
            divergence_M = kl_divergence(student_log_BC, teacher_log_MBC)
        case "dkd":
            divergence_M = decoupled_divergence(
                student_log_BC, teacher_log_MBC, labels_B, spec.target_class_weight, spec.non_target_class_weight
            )
        case "none":
            raise ValueError("loss 'none' matches nothing")
        case _:
            assert_never(spec.loss)
    # T² keeps the size of the gradient independent of T (arXiv 1503.02531, section 2.1).
    return spec.temperature**2 * (shares_M * divergence_M).sum()


@lru_cache(maxsize=64)
def _kept_tensor(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # Made once: a copy to a GPU waits for all kernels in its queue, and would do so at every step.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)

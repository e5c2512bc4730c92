"""The loss of a student: what it learns from the labels, and from its teachers by the loss that the study selects.

Shapes: B batch, C classes, M teachers.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from kd_sweep.augmentation.mixing import Partners
from kd_sweep.catalogue.plugins import RAISED, described
from kd_sweep.distill.loss_inputs import LossInputs
from kd_sweep.errors import TrialError
from kd_sweep.study.recipe import NO_LOSS, Distillation


def distillation_loss(
    student_logits_BC: Tensor,
    teacher_logits_MBC: Tensor,
    labels_B: Tensor,
    spec: Distillation,
    label_smoothing: float = 0.0,
    partners: Partners | None = None,
) -> Tensor:
    """Return the scalar ``alpha * CE + (1 - alpha) * loss`` (Hinton et al., arXiv 1503.02531).

    Args:
        student_logits_BC: the student's logits; gradients flow into them.
        teacher_logits_MBC: each teacher's logits on the same images; no gradient is wanted there.
        labels_B: hard labels, int64.
        spec: the loss with its parameters, the teachers' weights, and alpha, the weight of the hard label.
        label_smoothing: mass that the hard label gives to all classes alike.
        partners: what is mixed into the images; it counts for CE alone.

    Raises:
        TrialError: the loss of a plug-in raised, or returned something else than a scalar that depends on the student.
    """
    if spec.loss == NO_LOSS or spec.alpha == 1.0:
        return label_loss(student_logits_BC, labels_B, label_smoothing, partners)
    shares = teacher_shares(len(teacher_logits_MBC), spec.teacher_weights)
    shares_M = _kept_tensor(tuple(shares), student_logits_BC.dtype, student_logits_BC.device)
    inputs = LossInputs(student_logits_BC, teacher_logits_MBC, labels_B, shares_M)
    entry = spec.entry
    match: Tensor = entry.item(inputs, spec) if entry.is_built_in else _of_plugin(inputs, spec)
    if spec.alpha == 0.0:
        return match
    hard = label_loss(student_logits_BC, labels_B, label_smoothing, partners)
    return spec.alpha * hard + (1.0 - spec.alpha) * match


def _of_plugin(inputs: LossInputs, spec: Distillation) -> Tensor:
    try:
        loss = spec.entry.item(inputs, spec)
    except RAISED as error:
        raise TrialError(f"distillation.loss: {spec.loss!r} raised {described(error)}") from error
    if not isinstance(loss, Tensor):
        raise TrialError(f"distillation.loss: {spec.loss!r} returned a {type(loss).__name__}, not a scalar tensor")
    if loss.shape != ():
        raise TrialError(f"distillation.loss: {spec.loss!r} returned the shape {tuple(loss.shape)}, not a scalar")
    if not loss.is_floating_point():
        kind = str(loss.dtype).removeprefix("torch.")
        raise TrialError(f"distillation.loss: {spec.loss!r} returned a scalar of {kind}, not of floating point")
    if inputs.student_logits_BC.requires_grad and not loss.requires_grad:
        raise TrialError(f"distillation.loss: {spec.loss!r} returned a scalar that does not depend on the student")
    return loss


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


@lru_cache(maxsize=64)
def _kept_tensor(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # Made once: a copy to a GPU waits for all kernels in its queue, and would do so at every step.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)

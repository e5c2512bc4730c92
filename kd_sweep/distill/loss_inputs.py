"""What a distillation loss is given.

Shapes: B batch, C classes, M teachers.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LossInputs:
    """The outputs of student and teachers on a batch of training images."""

    student_logits_BC: Tensor
    """float32; gradients flow into them."""
    teacher_logits_MBC: Tensor
    """float32, member 1 first; no gradient is wanted there."""
    labels_B: Tensor
    """Hard labels, int64."""
    shares_M: Tensor
    """What each teacher counts, of `distillation.teacher_weights`; together 1."""

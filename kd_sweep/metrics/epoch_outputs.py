"""What an extra metric is computed from: what networks answer to the clean validation images after an epoch.

Shapes: V validation images, C classes, M teachers.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class EpochOutputs:
    """The outputs of an epoch on clean validation images. Nothing in it may be changed in place."""

    epoch: int
    """From 1."""
    student_logits_VC: Tensor
    """The student's logits, float32."""
    teacher_logits_MVC: Tensor
    """Those of its teachers, member 1 first; the same in every epoch."""
    labels_V: Tensor
    """The labels, int64."""

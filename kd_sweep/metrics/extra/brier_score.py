"""Metric `brier_score`: the squared distance between predicted probabilities and the label."""

from typing import TYPE_CHECKING

from kd_sweep.catalogue.decorators import metric
from kd_sweep.catalogue.parameters import NoParameters

if TYPE_CHECKING:
    from kd_sweep.metrics.epoch_outputs import EpochOutputs


@metric(
    "brier_score",
    meaning="Mean over `val` of the squared distance between the student's probabilities and the label's one-hot "
    "vector (Brier 1950).",
    low=0.0,
    high=2.0,
    unit="squared probability",
    better="min",
)
def brier_score(outputs: "EpochOutputs", _: NoParameters) -> float:
    """Return the score of the student."""
    import torch.nn.functional as F

    probabilities_VC = outputs.student_logits_VC.softmax(dim=1)
    labels_VC = F.one_hot(outputs.labels_V, probabilities_VC.shape[1])
    return float((probabilities_VC - labels_VC).square().sum(dim=1).mean())

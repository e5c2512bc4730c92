"""A metric: how many of its teachers' mistakes a student makes too."""

import kd_sweep


@kd_sweep.metric(
    "errors",
    meaning="Of the images of `val` that the ensemble gets wrong, the share to which the student gives the same class.",
    low=0.0,
    high=1.0,
    unit="share",
    about="student and teachers",
    can_be_null=True,
)
def errors(outputs, parameters):
    """Return the share, or None where the ensemble makes no mistake."""
    ensemble_V = outputs.teacher_logits_MVC.softmax(-1).mean(0).argmax(-1)
    student_V = outputs.student_logits_VC.argmax(-1)
    is_wrong_V = ensemble_V != outputs.labels_V
    if not is_wrong_V.any():
        return None
    return float((student_V == ensemble_V)[is_wrong_V].float().mean())

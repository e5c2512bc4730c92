"""What the catalogue says a metric is about is true of trained networks."""

from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.study.recipe import Metrics
from tests.distill.trials import run, tiny_trial

MAPS = ("grad_cam", "cam")


def test_what_is_of_teachers_is_the_same_whatever_the_student_does(tmp_path):
    students = ({"learning_rate": 0.1}, {"learning_rate": 0.01, "width": 8})
    trials = [
        tiny_trial(ensemble_size=2, student={"epochs": 2, **student}, metrics=Metrics(affinity=True))
        for student in students
    ]
    one, other = (run(trial, tmp_path)[-1] for trial in trials)
    of_teachers = {name for name, metric in REPORTED_METRICS.items() if metric.is_of_teachers}
    assert {name: one[name] for name in of_teachers} == {name: other[name] for name in of_teachers}
    continuous = [name for name in REPORTED_METRICS if name.startswith(("predictive_kl", "entropy_student"))]
    assert not [name for name in continuous if one[name] is not None and one[name] == other[name]]


def test_only_what_is_of_attention_depends_on_the_map(tmp_path):
    trials = [tiny_trial(ensemble_size=2, student={"epochs": 1}, metrics=Metrics(attention=kind)) for kind in MAPS]
    one, other = (run(trial, tmp_path)[-1] for trial in trials)
    moved = {name for name in REPORTED_METRICS if one[name] != other[name]}
    assert moved <= {name for name, metric in REPORTED_METRICS.items() if metric.of_attention}
    assert {"attention_iou_teachers", "attention_overlap_student", "attention_area_student"} <= moved

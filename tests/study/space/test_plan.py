import json

import pytest

from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.plan import estimate_hours, plan


def _plan(**content):
    return plan(parse_spec(json.dumps({"name": "d", **content}), "f.yaml"))


DIGITS = {"augmentation_strength": {"grid": [0.0, 0.25, 0.5]}, "ensemble_size": {"grid": [1, 2, 3]}, "seed": 0}


def test_the_plan_of_a_grid_counts_shared_teachers_once():
    found = _plan(search=DIGITS, teacher={"epochs": 5}, student={"epochs": 7})
    assert (found.num_trials, found.num_teachers) == (9, 9)
    assert (found.teacher_epochs, found.student_epochs) == (9 * 5, 9 * 7)
    assert found.exact
    assert len(found.trials) == len({teacher.teacher_id for teacher in found.teachers}) == 9


def test_a_searched_number_of_epochs_is_counted_trial_by_trial():
    found = _plan(search={"student.epochs": {"grid": [2, 8]}, "teacher.epochs": {"grid": [3, 4]}})
    assert (found.num_trials, found.num_teachers) == (4, 2)
    assert (found.teacher_epochs, found.student_epochs) == (3 + 4, 2 * (2 + 8))


def test_the_budget_and_a_scheduler_bound_the_plan():
    found = _plan(search=DIGITS, budget={"max_trials": 2}, scheduler={"name": "median"})
    # Strength 0 with one and two teachers, which share the first.
    assert (found.num_trials, found.num_teachers) == (2, 2)
    assert not found.exact


@pytest.mark.parametrize(
    ("search", "trials", "teachers"),
    [
        ({"augmentation_strength": {"uniform": [0, 1]}, "ensemble_size": {"int": [1, 3]}}, 10, 30),
        # Three strengths with up to two members each, whatever the student's temperature is.
        (
            {
                "augmentation_strength": {"uniform": [0, 1], "step": 0.5},
                "ensemble_size": {"int": [1, 2]},
                "distillation.temperature": {"uniform": [1, 2]},
            },
            10,
            6,
        ),
        ({"ensemble_size": {"choice": [1, 4]}}, 2, 4),
    ],
)
def test_adaptive_samplers_get_upper_bounds(search, trials, teachers):
    found = _plan(search=search, sampler={"name": "tpe", "num_trials": 10}, teacher={"epochs": 5})
    assert (found.num_trials, found.num_teachers) == (trials, teachers)
    assert (found.teacher_epochs, found.student_epochs) == (teachers * 5, trials * 8)
    assert found.trials == found.teachers == []
    assert not found.exact


def test_hours_by_hand():
    found = _plan(search=DIGITS)
    # One slot: 9 teachers of 8 epochs of 10 s, 9 students of 8 epochs of 20 s.
    assert estimate_hours(found, 10, 20, 1) == pytest.approx((9 * 8 * 10 + 9 * 8 * 20) / 3600)
    # Two slots: the longer one gets 5 of 9 jobs.
    assert estimate_hours(found, 10, 20, 2) == pytest.approx((5 * 8 * 10 + 5 * 8 * 20) / 3600)
    # More slots than jobs do not help.
    assert estimate_hours(found, 10, 20, 100) == pytest.approx((8 * 10 + 8 * 20) / 3600)
    with pytest.raises(ValueError, match="slots 0"):
        estimate_hours(found, 10, 20, 0)


def test_hours_of_uneven_jobs():
    found = _plan(search={"student.epochs": {"grid": [2, 8, 3]}}, teacher={"epochs": 1, "warmup_epochs": 0})
    # Students on two slots: 2 then 3 on the first, 8 on the second.
    assert estimate_hours(found, 0, 3600, 2) == pytest.approx(8)


def test_hours_of_an_adaptive_study():
    found = _plan(search={"ensemble_size": {"int": [1, 3]}}, sampler={"name": "tpe", "num_trials": 10})
    assert estimate_hours(found, 1, 1, 1) == pytest.approx((3 * 8 + 3 * 8) / 3600)

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kd_sweep.errors import SpecError
from kd_sweep.study.space.points import (
    canonical_point,
    grid_points,
    is_finite,
    planned_trials,
    random_point,
    trial_config,
)
from tests.study.space.specs import spec_of


def test_a_point_is_applied_and_the_rest_is_the_study_s():
    spec = spec_of({}, teacher={"epochs": 3}, distillation={"alpha": 0.5})
    point = {"augmentation_strength": 1, "ensemble_size": 2, "seed": 7, "distillation.temperature": 2}
    trial = trial_config(spec, point | {"student.learning_rate": 0.05, "student.width": 4})
    assert (trial.teacher_strengths, trial.student_strength, trial.seed) == ((1.0, 1.0), 1.0, 7)
    assert (trial.distillation.temperature, trial.distillation.alpha) == (2.0, 0.5)
    assert (trial.student.learning_rate, trial.student.width, trial.teacher.epochs) == (0.05, 4, 3)
    assert (trial.student.epochs, trial.data) == (8, spec.data)


def test_the_same_value_in_other_words_is_the_same_trial():
    spec = spec_of({})
    ids = {
        trial_config(spec, {"distillation.temperature": value}).trial_id
        for value in (3, 3.0, 0.1 + 0.2 + 2.7, 3.0000000000001)
    }
    assert len(ids) == 1
    assert canonical_point({"distillation.temperature": 0.1 + 0.2}) == {"distillation.temperature": 0.3}
    assert trial_config(spec, {"distillation.temperature": 3.00001}).trial_id not in ids


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"ensemble_size": 0}, "ensemble_size: 0 is not at least 1"),
        ({"student.epochs": 2.5}, "student.epochs: 2.5 is not a whole number"),
        ({"augmentation_strength": math.nan}, "augmentation_strength: nan is not a finite number"),
        (
            {"student.epochs": 2, "student.warmup_epochs": 3},
            "no trial can have student.epochs 2, student.warmup_epochs 3.0: warmup_epochs 3 is not less than epochs 2",
        ),
        (
            {"student.learning_rat": 0.1},
            "cannot be searched, did you mean 'student.learning_rate'? possible: student.batch_size, student.epochs, "
            "student.gamma, student.label_smoothing, student.learning_rate, student.model, student.momentum, "
            "student.nesterov, … (15 in all)",
        ),
    ],
)
def test_a_point_that_no_trial_can_have(point, message):
    with pytest.raises(SpecError) as caught:
        trial_config(spec_of({}), point)
    assert str(caught.value) == message


def test_grid_points_are_in_the_order_of_the_file_the_last_fastest():
    spec = spec_of({"seed": {"grid": [5, 1]}, "augmentation_strength": {"grid": [0.5, 0]}, "ensemble_size": 2})
    found = [tuple(point.values()) for point in grid_points(spec)]
    assert found == [(5, 0.5, 2), (5, 0.0, 2), (1, 0.5, 2), (1, 0.0, 2)]
    assert [type(point["augmentation_strength"]) for point in grid_points(spec)] == [float] * 4


def test_ranges_with_a_step_have_a_grid_and_others_do_not():
    spec = spec_of({"ensemble_size": {"int": [1, 4]}, "distillation.alpha": {"uniform": [0, 1], "step": 0.4}}, "random")
    found = [tuple(point.values()) for point in grid_points(spec)]
    assert found == list(itertools.product([1, 2, 3, 4], [0.0, 0.4, 0.8]))
    with pytest.raises(SpecError, match=r"^search\.distillation\.alpha: a continuous range has no grid"):
        next(grid_points(spec_of({"distillation.alpha": {"uniform": [0, 1]}}, "random")))


def test_nine_digits_trials_share_nine_teachers():
    spec = spec_of({"augmentation_strength": {"grid": [0, 0.25, 0.5]}, "ensemble_size": {"grid": [1, 2, 3]}, "seed": 0})
    trials = planned_trials(spec)
    assert is_finite(spec)
    assert len({trial.config.trial_id for trial in trials}) == 9
    teachers = [teacher for trial in trials for teacher in trial.config.teachers]
    assert len(teachers) == 18
    assert len({teacher.teacher_id for teacher in teachers}) == 9


def test_adaptive_samplers_plan_nothing():
    for sampler in ("tpe", "nsga2"):
        spec = spec_of({"ensemble_size": {"grid": [1, 2]}}, sampler)
        assert planned_trials(spec) == []
        assert not is_finite(spec)


def test_a_study_without_search_is_one_trial():
    assert [trial.point for trial in planned_trials(spec_of({}))] == [{}]
    assert [trial.point for trial in planned_trials(spec_of({}, "random"))] == [{}]


RANGES = {
    "augmentation_strength": {"uniform": [0.1, 0.9], "step": 0.2},
    "student.learning_rate": {"uniform": [1e-4, 1.0], "log": True},
    "distillation.alpha": {"uniform": [0, 1]},
    "ensemble_size": {"int": [1, 7], "step": 3},
    "student.optimizer": {"choice": ["sgd", "adamw"]},
    "seed": {"grid": [3, 5]},
}


def test_random_points_cover_their_ranges_evenly():
    spec = spec_of(RANGES, "random")
    points = [random_point(spec, index) for index in range(2000)]
    assert {point["augmentation_strength"] for point in points} == {0.1, 0.3, 0.5, 0.7, 0.9}
    assert {point["ensemble_size"] for point in points} == {1, 4, 7}
    assert {point["student.optimizer"] for point in points} == {"sgd", "adamw"}
    alphas = [point["distillation.alpha"] for point in points]
    # Mean and standard deviation of the uniform distribution on [0, 1], within 4 standard errors.
    assert statistics.mean(alphas) == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / 2000))
    assert statistics.stdev(alphas) == pytest.approx(math.sqrt(1 / 12), abs=0.02)
    rates = [math.log10(point["student.learning_rate"]) for point in points]
    assert statistics.mean(rates) == pytest.approx(-2, abs=4 * 4 * math.sqrt(1 / 12 / 2000))
    assert -4 <= min(rates) < -3.9
    assert -0.1 < max(rates) <= 0
    for value, share in (("sgd", 0.5), ("adamw", 0.5)):
        count = sum(point["student.optimizer"] == value for point in points)
        assert count / 2000 == pytest.approx(share, abs=0.05)
    # Dimensions are independent of each other.
    assert abs(statistics.correlation(alphas, rates)) < 4 / math.sqrt(2000)


def test_a_draw_depends_on_seed_index_and_name_alone():
    spec = spec_of(RANGES, "random")
    more = spec_of(RANGES | {"distillation.temperature": {"uniform": [1, 8]}}, "random")
    fewer = spec_of({"distillation.alpha": RANGES["distillation.alpha"]}, "random")
    reseeded = spec_of(RANGES, "random", settings={"seed": 1})
    for index in (0, 1, 99):
        point = random_point(spec, index)
        assert point == random_point(spec, index)
        assert point.items() <= random_point(more, index).items()
        assert random_point(fewer, index)["distillation.alpha"] == point["distillation.alpha"]
        assert point != random_point(reseeded, index)


def test_draws_never_change_between_versions():
    # Written down once: other values would start an existing study's trials anew.
    spec = spec_of({"distillation.alpha": {"uniform": [0, 1]}, "seed": {"int": [0, 1000]}}, "random")
    assert [random_point(spec, index) for index in range(2)] == [
        {"distillation.alpha": 0.61937667379, "seed": 910},
        {"distillation.alpha": 0.476014975384, "seed": 840},
    ]


def test_more_random_trials_extend_a_study():
    def ids(num_trials):
        spec = spec_of(RANGES, "random", settings={"num_trials": num_trials})
        return [trial.config.trial_id for trial in planned_trials(spec)]

    assert len(ids(40)) == len(set(ids(40))) == 40
    assert ids(40)[:15] == ids(15)


@pytest.mark.parametrize("num_trials", [1, 11, 12, 500])
def test_random_draws_on_until_the_space_is_exhausted(num_trials):
    search = {"seed": {"grid": [0, 1, 2]}, "ensemble_size": {"int": [1, 4]}}
    trials = planned_trials(spec_of(search, "random", settings={"num_trials": num_trials}))
    points = {(trial.point["seed"], trial.point["ensemble_size"]) for trial in trials}
    assert len(trials) == len(points) == min(num_trials, 12)
    assert points <= set(itertools.product([0, 1, 2], [1, 2, 3, 4]))


@hypothesis_settings(max_examples=100)
@given(st.floats(0, 0.5), st.floats(0.51, 1), st.integers(1, 50), st.integers(0, 10**6))
def test_quantised_draws_stay_on_the_steps_and_in_the_range(low, high, parts, index):
    step = (high - low) / parts
    spec = spec_of({"distillation.alpha": {"uniform": [low, high], "step": step}}, "random")
    value = random_point(spec, index)["distillation.alpha"]
    assert low - 1e-12 <= value <= high + 1e-12
    steps = (value - low) / step
    assert steps == pytest.approx(round(steps), abs=1e-6)


def test_the_upper_bound_is_one_of_the_steps():
    spec = spec_of({"augmentation_strength": {"uniform": [0, 1], "step": 0.1}}, "random")
    found = {random_point(spec, index)["augmentation_strength"] for index in range(500)}
    assert found == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0}


def test_a_large_integer_range_costs_nothing():
    spec = spec_of({"seed": {"int": [0, 2**62]}}, "random", settings={"num_trials": 3})
    assert len(planned_trials(spec)) == 3

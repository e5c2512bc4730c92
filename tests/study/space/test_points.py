import itertools
import json
import math
import statistics
import time

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from kd_sweep.errors import SpecError
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import (
    canonical_point,
    grid_points,
    is_finite,
    planned_trials,
    random_point,
    trial_config,
    validate_space,
)
from kd_sweep.study.spec import Grid, StudySpec


def _spec(search, sampler="grid", settings=None, **others):
    content = {"name": "d", "search": search} | others
    content["sampler"] = {"name": sampler} | (settings or {})
    return parse_spec(json.dumps(content), "f.yaml")


def _rule(search, sampler="grid", **others):
    with pytest.raises(SpecError) as caught:
        _spec(search, sampler, **others)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith("(f.yaml, line 1)")
    return message.removesuffix(" (f.yaml, line 1)")


def test_a_point_is_applied_and_the_rest_is_the_study_s():
    spec = _spec({}, teacher={"epochs": 3}, distillation={"alpha": 0.5})
    point = {"augmentation_strength": 1, "ensemble_size": 2, "seed": 7, "distillation.temperature": 2}
    trial = trial_config(spec, point | {"student.learning_rate": 0.05, "student.width": 4})
    assert (trial.teacher_strengths, trial.student_strength, trial.seed) == ((1.0, 1.0), 1.0, 7)
    assert (trial.distillation.temperature, trial.distillation.alpha) == (2.0, 0.5)
    assert (trial.student.learning_rate, trial.student.width, trial.teacher.epochs) == (0.05, 4, 3)
    assert (trial.student.epochs, trial.data) == (8, spec.data)


def test_the_same_value_in_other_words_is_the_same_trial():
    spec = _spec({})
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
        trial_config(_spec({}), point)
    assert str(caught.value) == message


def test_grid_points_are_in_the_order_of_the_file_the_last_fastest():
    spec = _spec({"seed": {"grid": [5, 1]}, "augmentation_strength": {"grid": [0.5, 0]}, "ensemble_size": 2})
    found = [tuple(point.values()) for point in grid_points(spec)]
    assert found == [(5, 0.5, 2), (5, 0.0, 2), (1, 0.5, 2), (1, 0.0, 2)]
    assert [type(point["augmentation_strength"]) for point in grid_points(spec)] == [float] * 4


def test_ranges_with_a_step_have_a_grid_and_others_do_not():
    spec = _spec({"ensemble_size": {"int": [1, 4]}, "distillation.alpha": {"uniform": [0, 1], "step": 0.4}}, "random")
    found = [tuple(point.values()) for point in grid_points(spec)]
    assert found == list(itertools.product([1, 2, 3, 4], [0.0, 0.4, 0.8]))
    with pytest.raises(SpecError, match=r"^search\.distillation\.alpha: a continuous range has no grid"):
        next(grid_points(_spec({"distillation.alpha": {"uniform": [0, 1]}}, "random")))


def test_nine_digits_trials_share_nine_teachers():
    spec = _spec({"augmentation_strength": {"grid": [0, 0.25, 0.5]}, "ensemble_size": {"grid": [1, 2, 3]}, "seed": 0})
    trials = planned_trials(spec)
    assert is_finite(spec)
    assert len({trial.config.trial_id for trial in trials}) == 9
    teachers = [teacher for trial in trials for teacher in trial.config.teachers]
    assert len(teachers) == 18
    assert len({teacher.teacher_id for teacher in teachers}) == 9


def test_adaptive_samplers_plan_nothing():
    for sampler in ("tpe", "nsga2"):
        spec = _spec({"ensemble_size": {"grid": [1, 2]}}, sampler)
        assert planned_trials(spec) == []
        assert not is_finite(spec)


def test_a_study_without_search_is_one_trial():
    assert [trial.point for trial in planned_trials(_spec({}))] == [{}]
    assert [trial.point for trial in planned_trials(_spec({}, "random"))] == [{}]


RANGES = {
    "augmentation_strength": {"uniform": [0.1, 0.9], "step": 0.2},
    "student.learning_rate": {"uniform": [1e-4, 1.0], "log": True},
    "distillation.alpha": {"uniform": [0, 1]},
    "ensemble_size": {"int": [1, 7], "step": 3},
    "student.optimizer": {"choice": ["sgd", "adamw"]},
    "seed": {"grid": [3, 5]},
}


def test_random_points_cover_their_ranges_evenly():
    spec = _spec(RANGES, "random")
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
    spec = _spec(RANGES, "random")
    more = _spec(RANGES | {"distillation.temperature": {"uniform": [1, 8]}}, "random")
    fewer = _spec({"distillation.alpha": RANGES["distillation.alpha"]}, "random")
    reseeded = _spec(RANGES, "random", settings={"seed": 1})
    for index in (0, 1, 99):
        point = random_point(spec, index)
        assert point == random_point(spec, index)
        assert point.items() <= random_point(more, index).items()
        assert random_point(fewer, index)["distillation.alpha"] == point["distillation.alpha"]
        assert point != random_point(reseeded, index)


def test_draws_never_change_between_versions():
    # Written down once: other values would start an existing study's trials anew.
    spec = _spec({"distillation.alpha": {"uniform": [0, 1]}, "seed": {"int": [0, 1000]}}, "random")
    assert [random_point(spec, index) for index in range(2)] == [
        {"distillation.alpha": 0.61937667379, "seed": 910},
        {"distillation.alpha": 0.476014975384, "seed": 840},
    ]


def test_more_random_trials_extend_a_study():
    def ids(num_trials):
        spec = _spec(RANGES, "random", settings={"num_trials": num_trials})
        return [trial.config.trial_id for trial in planned_trials(spec)]

    assert len(ids(40)) == len(set(ids(40))) == 40
    assert ids(40)[:15] == ids(15)


@pytest.mark.parametrize("num_trials", [1, 11, 12, 500])
def test_random_draws_on_until_the_space_is_exhausted(num_trials):
    search = {"seed": {"grid": [0, 1, 2]}, "ensemble_size": {"int": [1, 4]}}
    trials = planned_trials(_spec(search, "random", settings={"num_trials": num_trials}))
    points = {(trial.point["seed"], trial.point["ensemble_size"]) for trial in trials}
    assert len(trials) == len(points) == min(num_trials, 12)
    assert points <= set(itertools.product([0, 1, 2], [1, 2, 3, 4]))


@hypothesis_settings(max_examples=100)
@given(st.floats(0, 0.5), st.floats(0.51, 1), st.integers(1, 50), st.integers(0, 10**6))
def test_quantised_draws_stay_on_the_steps_and_in_the_range(low, high, parts, index):
    step = (high - low) / parts
    spec = _spec({"distillation.alpha": {"uniform": [low, high], "step": step}}, "random")
    value = random_point(spec, index)["distillation.alpha"]
    assert low - 1e-12 <= value <= high + 1e-12
    steps = (value - low) / step
    assert steps == pytest.approx(round(steps), abs=1e-6)


def test_the_upper_bound_is_one_of_the_steps():
    spec = _spec({"augmentation_strength": {"uniform": [0, 1], "step": 0.1}}, "random")
    found = {random_point(spec, index)["augmentation_strength"] for index in range(500)}
    assert found == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0}


@pytest.mark.parametrize(
    ("search", "sampler", "rule"),
    [
        (
            {"seed": {"uniform": [0, 5]}},
            "random",
            "search.seed.uniform: seed is a whole number; write int: [0, 5]",
        ),
        (
            {"student.optimizer": {"int": [0, 1]}},
            "tpe",
            "search.student.optimizer.int: student.optimizer is text, not a number; possible: grid, choice",
        ),
        (
            {"distillation.temperature": {"uniform": [0, 5]}},
            "random",
            "search.distillation.temperature.uniform[0]: 0.0 is not at least 0.01",
        ),
        (
            {"ensemble_size": {"int": [0, 3]}},
            "random",
            "search.ensemble_size.int[0]: 0 is not at least 1",
        ),
        (
            {"seed": {"uniform": [3, 1]}},
            "random",
            "search.seed: the lower bound 3 is not below the upper bound 1",
        ),
        (
            {"distillation.alpha": {"uniform": [0, 1], "step": 2}},
            "random",
            "search.distillation.alpha: step 2 is larger than the range from 0 to 1",
        ),
        (
            {"augmentation_strength": {"grid": [0, 0.5, 0.0]}},
            "grid",
            "search.augmentation_strength.grid[2]: 0.0 is in the list twice",
        ),
        (
            {"seed": {"choice": [0, 1]}},
            "grid",
            "search.seed.choice: sampler 'grid' needs a grid here; write grid: [...], or take sampler random, tpe or "
            "nsga2",
        ),
        (
            {"student.optimizer": {"grid": ["sgd", "adam"]}},
            "grid",
            "search.student.optimizer.grid[1]: 'adam' is not an option, did you mean 'adamw'? possible: adamw, sgd",
        ),
        (
            {"student.epochs": {"grid": [2, 8]}, "student.warmup_epochs": {"grid": [1, 3]}},
            "grid",
            "search.student.epochs: no trial of student can have epochs 2, warmup_epochs 3.0: warmup_epochs 3 is not "
            "less than epochs 2",
        ),
        (
            {"temperature": {"grid": [1]}},
            "grid",
            "search.temperature: is not a field of a trial; possible: distillation.temperature",
        ),
        (
            {"ensemble_sizes": {"grid": [1]}},
            "grid",
            "search.ensemble_sizes: cannot be searched, did you mean 'ensemble_size'? possible: "
            "augmentation_strength, distillation.temperature, ensemble_size, seed, student_strength, teacher_strengths",
        ),
        (
            {"data.path": {"grid": ["a"]}},
            "grid",
            "search.data.path: cannot be searched, a study has one dataset, possible: data.horizontal_flip, "
            "data.image_size, data.imbalance_ratio, data.max_train_images, data.max_val_images, data.split_seed, "
            "data.validation_fraction",
        ),
        (
            {"seed": {"grid": list(range(1001))}, "data.split_seed": {"grid": list(range(1000))}},
            "grid",
            "search: the grid has 1001000 trials, more than 1000000; take sampler random with num_trials",
        ),
        ({}, "tpe", "search: is empty: sampler 'tpe' has nothing to choose"),
    ],
)
def test_rules_of_the_search_space(search, sampler, rule):
    assert _rule(search, sampler) == rule


@pytest.mark.parametrize("name", ["name", "sampler", "data.name", "teacher.milestones", "resources.cpus", "teacher"])
def test_only_scalar_fields_of_a_trial_can_be_searched(name):
    assert _rule({name: {"grid": [1]}}).startswith(f"search.{name}: cannot be searched, ")


def test_a_metric_that_needs_two_teachers_needs_them_in_every_trial():
    objective = {"objectives": [{"metric": "attention_iou_teachers", "mode": "min"}]}
    scheduler = {"scheduler": {"name": "median", "metric": "attention_iou_teachers", "mode": "min", "min_trials": 1}}
    assert "objectives[0].metric: 'attention_iou_teachers' compares teachers" in _rule({}, **objective)
    assert "scheduler.metric: 'attention_iou_teachers' compares teachers" in _rule(
        {"ensemble_size": {"grid": [2, 1]}}, **scheduler
    )
    assert "search.ensemble_size can be 1" in _rule({"ensemble_size": {"int": [1, 3]}}, "random", **objective)
    _spec({"ensemble_size": {"grid": [2, 3]}}, **objective, **scheduler)


def test_metrics_must_be_reported_and_objectives_differ():
    assert _rule({}, scheduler={"name": "asha", "metric": "accuracy"}).startswith(
        "scheduler.metric: no trial reports 'accuracy', did you mean"
    )
    twice = [{"metric": "val_accuracy"}, {"metric": "val_accuracy", "mode": "min"}]
    assert _rule({}, objectives=twice) == "objectives[1].metric: 'val_accuracy' is an objective twice"


@pytest.mark.parametrize("metric", ["generalization_gap", "attention_area_student"])
def test_an_objective_that_may_be_better_either_way_says_which(metric):
    rule = f"objectives[0].mode: is missing for '{metric}'; possible: max, min"
    assert _rule({}, objectives=[{"metric": metric}]) == rule
    _spec({}, objectives=[{"metric": metric, "mode": "min"}])


@pytest.mark.parametrize(
    ("metric", "mode"),
    [
        ("val_accuracy", "max"),
        ("fidelity_val", "max"),
        ("val_loss", "min"),
        ("ece", "min"),
        ("predictive_kl_val", "min"),
    ],
)
def test_the_mode_of_an_objective_is_its_metrics_where_one_is_better(metric, mode):
    (objective,) = _spec({}, objectives=[{"metric": metric}]).objectives
    assert objective.mode == mode
    (other,) = _spec({}, objectives=[{"metric": metric, "mode": "max" if mode == "min" else "min"}]).objectives
    assert other.mode != mode


def test_a_scheduler_does_not_take_its_mode_from_another_metric():
    assert _rule({}, scheduler={"name": "asha", "metric": "val_loss"}) == (
        "scheduler.mode: is missing for 'val_loss', which is not the first objective; possible: max, min"
    )
    _spec({}, scheduler={"name": "asha", "metric": "val_loss"}, objectives=[{"metric": "val_loss", "mode": "min"}])


@pytest.mark.parametrize("name", ["asha", "median", "hyperband", "patience", "pareto_asha"])
def test_a_scheduler_needs_room_to_stop_a_trial(name):
    late = {"scheduler": {"name": name, "grace_period": 8} | ({"min_trials": 1} if name == "median" else {})}
    late["objectives"] = [{"metric": "val_accuracy"}, {"metric": "ece", "mode": "min"}]
    rule = "scheduler.grace_period: 8 is not below student.epochs, 8: no trial could stop early"
    assert _rule({"seed": {"grid": [0, 1]}}, **late) == rule
    _spec({"student.epochs": {"grid": [4, 9]}}, **late)


def test_brackets_begin_within_the_epochs_of_a_trial():
    def hyperband(epochs, **settings):
        return {"student": {"epochs": epochs}, "scheduler": {"name": "hyperband", **settings}}

    rule = "scheduler.brackets: {} is more than {}, the brackets that begin within student.epochs, {}"
    assert _rule({}, **hyperband(27, brackets=5)) == rule.format(5, 4, 27)  # 1, 3, 9, 27
    assert _rule({}, **hyperband(26, brackets=4)) == rule.format(4, 3, 26)
    assert _rule({}, **hyperband(8, brackets=3, grace_period=3, reduction_factor=2)) == rule.format(3, 2, 8)
    for fields in (hyperband(27, brackets=4), hyperband(27), hyperband(3, brackets=1, reduction_factor=100)):
        _spec({}, **fields)


def test_the_median_is_of_fewer_trials_than_the_study_has():
    median = {"scheduler": {"name": "median", "min_trials": 4}}
    rule = "scheduler.min_trials: 4 is not below 4, the trials of the study: no trial could stop early"
    assert _rule({"seed": {"grid": [0, 1]}, "ensemble_size": {"grid": [1, 2]}}, **median) == rule
    _spec({"seed": {"grid": [0, 1, 2, 3, 4]}}, **median)
    assert _rule({}, "random", settings={"num_trials": 4}, **median) == rule
    _spec({}, "random", settings={"num_trials": 5}, **median)


@pytest.mark.parametrize("factor", [1.00001, 1.4, 100.5, 1e6])
def test_an_absurd_reduction_factor_is_refused(factor):
    rule = _rule({}, scheduler={"name": "asha", "reduction_factor": factor})
    assert rule == f"scheduler.reduction_factor: {factor} is not at {'least 1.5' if factor < 2 else 'most 100'}"


@pytest.mark.parametrize("grace_period", [1, 2, 3, 7])
@pytest.mark.parametrize("factor", [1.5, 1.6, 1.9, 2.0, 3.0])
def test_every_rung_of_asha_is_an_epoch_of_its_own(grace_period, factor):
    spec = _spec({}, scheduler={"name": "asha", "grace_period": grace_period, "reduction_factor": factor})
    epochs = [math.ceil(spec.scheduler.grace_period * spec.scheduler.reduction_factor**k) for k in range(15)]
    assert len(set(epochs)) == 15


@pytest.mark.parametrize("name", ["asha", "median", "hyperband", "patience"])
def test_a_scheduler_does_not_stop_the_trials_that_an_objective_wants(name):
    objectives = [{"metric": "val_accuracy"}, {"metric": "ece", "mode": "min"}]
    many = {"seed": {"grid": [0, 1, 2, 3]}}
    for metric, mode, place in ((None, "min", 0), ("val_accuracy", "min", 0), ("ece", "max", 1)):
        judged, right = metric or "val_accuracy", "min" if mode == "max" else "max"
        assert _rule(many, objectives=objectives, scheduler={"name": name, "metric": metric, "mode": mode}) == (
            f"scheduler.mode: {mode} is not {right}, the mode of {judged!r} in objectives[{place}]: "
            "the best trials would stop"
        )
        _spec(many, objectives=objectives, scheduler={"name": name, "metric": metric, "mode": right})
    _spec(many, objectives=objectives, scheduler={"name": name, "metric": "val_loss", "mode": "max"})


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
@pytest.mark.parametrize("field", ["seed", "data.split_seed"])
@pytest.mark.parametrize("dimension", [{"grid": [0, 1]}, {"choice": [0, 1]}, {"int": [0, 5]}])
def test_an_adaptive_sampler_does_not_choose_the_luckiest_repeat(sampler, field, dimension):
    others = {"distillation.alpha": {"uniform": [0, 1]}}
    assert _rule(others | {field: dimension}, sampler) == (
        f"search.{field}: sampler {sampler!r} would judge a configuration by one {field} of its choice; leave one "
        "value here, and run the configurations that it finds with several by sampler grid"
    )
    _spec(others | {field: {"grid": [7]}}, sampler)
    _spec(others | {field: dimension}, "random")


def test_a_long_grid_loads_in_linear_time():
    # 20,000 values took 10 s with a quadratic search for repeated ones.
    began = time.monotonic()
    field = [*range(20_000), 0]
    spec = StudySpec(name="d", search={"seed": Grid(grid=tuple(field))})
    with pytest.raises(SpecError, match=r"search\.seed\.grid\[20000\]: 0 is in the list twice"):
        validate_space(spec)
    assert time.monotonic() - began < 3


def test_a_large_integer_range_costs_nothing():
    spec = _spec({"seed": {"int": [0, 2**62]}}, "random", settings={"num_trials": 3})
    assert len(planned_trials(spec)) == 3

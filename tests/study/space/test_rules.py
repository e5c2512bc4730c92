"""Rules of a study that span fields: each mistake with its line."""

import math
import time

import pytest

from kd_sweep.errors import SpecError
from kd_sweep.study.space.rules import validate_space
from kd_sweep.study.spec import Grid, StudySpec
from tests.study.space.specs import broken_rule, spec_of


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
            "search.seed.choice: sampler 'grid' needs a grid here; write grid: [...], or take another sampler, "
            "such as random or tpe",
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
            "augmentation_strength, distillation.temperature, ensemble_size, seed, student_augmentation_seed, "
            "student_initialisation_seed, student_order_seed, student_strength, … (10 in all)",
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
    assert broken_rule(search, sampler) == rule


@pytest.mark.parametrize("name", ["name", "sampler", "data.name", "teacher.milestones", "resources.cpus", "teacher"])
def test_only_scalar_fields_of_a_trial_can_be_searched(name):
    assert broken_rule({name: {"grid": [1]}}).startswith(f"search.{name}: cannot be searched, ")


def test_a_metric_that_needs_two_teachers_needs_them_in_every_trial():
    objective = {"objectives": [{"metric": "attention_iou_teachers", "mode": "min"}]}
    scheduler = {"scheduler": {"name": "median", "metric": "attention_iou_teachers", "mode": "min", "min_trials": 1}}
    assert "objectives[0].metric: 'attention_iou_teachers' compares teachers" in broken_rule({}, **objective)
    assert "scheduler.metric: 'attention_iou_teachers' compares teachers" in broken_rule(
        {"ensemble_size": {"grid": [2, 1]}}, **scheduler
    )
    assert "search.ensemble_size can be 1" in broken_rule({"ensemble_size": {"int": [1, 3]}}, "random", **objective)
    spec_of({"ensemble_size": {"grid": [2, 3]}}, **objective, **scheduler)


def test_metrics_must_be_reported_and_objectives_differ():
    assert broken_rule({}, scheduler={"name": "asha", "metric": "accuracy"}).startswith(
        "scheduler.metric: no trial reports 'accuracy', did you mean"
    )
    twice = [{"metric": "val_accuracy"}, {"metric": "val_accuracy", "mode": "min"}]
    assert broken_rule({}, objectives=twice) == "objectives[1].metric: 'val_accuracy' is an objective twice"


@pytest.mark.parametrize("metric", ["generalization_gap", "attention_area_student"])
def test_an_objective_that_may_be_better_either_way_says_which(metric):
    rule = f"objectives[0].mode: is missing for '{metric}'; possible: max, min"
    assert broken_rule({}, objectives=[{"metric": metric}]) == rule
    spec_of({}, objectives=[{"metric": metric, "mode": "min"}])


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
    (objective,) = spec_of({}, objectives=[{"metric": metric}]).objectives
    assert objective.mode == mode
    (other,) = spec_of({}, objectives=[{"metric": metric, "mode": "max" if mode == "min" else "min"}]).objectives
    assert other.mode != mode


def test_a_scheduler_does_not_take_its_mode_from_another_metric():
    assert broken_rule({}, scheduler={"name": "asha", "metric": "val_loss"}) == (
        "scheduler.mode: is missing for 'val_loss', which is not the first objective; possible: max, min"
    )
    spec_of({}, scheduler={"name": "asha", "metric": "val_loss"}, objectives=[{"metric": "val_loss", "mode": "min"}])


@pytest.mark.parametrize("name", ["asha", "median", "hyperband", "patience", "pareto_asha"])
def test_a_scheduler_needs_room_to_stop_a_trial(name):
    late = {"scheduler": {"name": name, "grace_period": 8} | ({"min_trials": 1} if name == "median" else {})}
    late["objectives"] = [{"metric": "val_accuracy"}, {"metric": "ece", "mode": "min"}]
    rule = "scheduler.grace_period: 8 is not below student.epochs, 8: no trial could stop early"
    assert broken_rule({"seed": {"grid": [0, 1]}}, **late) == rule
    spec_of({"student.epochs": {"grid": [4, 9]}}, **late)


def test_brackets_begin_within_the_epochs_of_a_trial():
    def hyperband(epochs, **settings):
        return {"student": {"epochs": epochs}, "scheduler": {"name": "hyperband", **settings}}

    rule = "scheduler.brackets: {} is more than {}, the brackets that begin within student.epochs, {}"
    assert broken_rule({}, **hyperband(27, brackets=5)) == rule.format(5, 4, 27)  # 1, 3, 9, 27
    assert broken_rule({}, **hyperband(26, brackets=4)) == rule.format(4, 3, 26)
    assert broken_rule({}, **hyperband(8, brackets=3, grace_period=3, reduction_factor=2)) == rule.format(3, 2, 8)
    for fields in (hyperband(27, brackets=4), hyperband(27), hyperband(3, brackets=1, reduction_factor=100)):
        spec_of({}, **fields)


def test_the_median_is_of_fewer_trials_than_the_study_has():
    median = {"scheduler": {"name": "median", "min_trials": 4}}
    rule = "scheduler.min_trials: 4 is not below 4, the trials of the study: no trial could stop early"
    assert broken_rule({"seed": {"grid": [0, 1]}, "ensemble_size": {"grid": [1, 2]}}, **median) == rule
    spec_of({"seed": {"grid": [0, 1, 2, 3, 4]}}, **median)
    assert broken_rule({}, "random", settings={"num_trials": 4}, **median) == rule
    spec_of({}, "random", settings={"num_trials": 5}, **median)


@pytest.mark.parametrize("factor", [1.00001, 1.4, 100.5, 1e6])
def test_an_absurd_reduction_factor_is_refused(factor):
    rule = broken_rule({}, scheduler={"name": "asha", "reduction_factor": factor})
    assert rule == f"scheduler.reduction_factor: {factor} is not at {'least 1.5' if factor < 2 else 'most 100'}"


@pytest.mark.parametrize("grace_period", [1, 2, 3, 7])
@pytest.mark.parametrize("factor", [1.5, 1.6, 1.9, 2.0, 3.0])
def test_every_rung_of_asha_is_an_epoch_of_its_own(grace_period, factor):
    spec = spec_of({}, scheduler={"name": "asha", "grace_period": grace_period, "reduction_factor": factor})
    epochs = [math.ceil(spec.scheduler.grace_period * spec.scheduler.reduction_factor**k) for k in range(15)]
    assert len(set(epochs)) == 15


@pytest.mark.parametrize("name", ["asha", "median", "hyperband", "patience"])
def test_a_scheduler_does_not_stop_the_trials_that_an_objective_wants(name):
    objectives = [{"metric": "val_accuracy"}, {"metric": "ece", "mode": "min"}]
    many = {"seed": {"grid": [0, 1, 2, 3]}}
    for metric, mode, index in ((None, "min", 0), ("val_accuracy", "min", 0), ("ece", "max", 1)):
        judged, right = metric or "val_accuracy", "min" if mode == "max" else "max"
        assert broken_rule(many, objectives=objectives, scheduler={"name": name, "metric": metric, "mode": mode}) == (
            f"scheduler.mode: {mode} is not {right}, the mode of {judged!r} in objectives[{index}]: "
            "the best trials would stop"
        )
        spec_of(many, objectives=objectives, scheduler={"name": name, "metric": metric, "mode": right})
    spec_of(many, objectives=objectives, scheduler={"name": name, "metric": "val_loss", "mode": "max"})


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
@pytest.mark.parametrize("field", ["seed", "data.split_seed"])
@pytest.mark.parametrize("dimension", [{"grid": [0, 1]}, {"choice": [0, 1]}, {"int": [0, 5]}])
def test_an_adaptive_sampler_does_not_choose_the_luckiest_repeat(sampler, field, dimension):
    others = {"distillation.alpha": {"uniform": [0, 1]}}
    instead = {"seed": "write seeds: 3 to run each with three"}.get(field, "run those that it finds by sampler grid")
    assert broken_rule(others | {field: dimension}, sampler) == (
        f"search.{field}: sampler {sampler!r} would judge a configuration by one {field} of its choice; leave one "
        f"value here, and {instead}"
    )
    spec_of(others | {field: {"grid": [7]}}, sampler)
    spec_of(others | {field: dimension}, "random")


def test_a_long_grid_loads_in_linear_time():
    # 20,000 values took 10 s with a quadratic search for repeated ones.
    began = time.process_time()
    field = [*range(20_000), 0]
    spec = StudySpec(name="d", search={"seed": Grid(grid=tuple(field))})
    with pytest.raises(SpecError, match=r"search\.seed\.grid\[20000\]: 0 is in the list twice"):
        validate_space(spec)
    assert time.process_time() - began < 3

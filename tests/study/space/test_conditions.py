"""Dimensions with `when`: they are in a point only where others have the values that they ask for."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_sweep.driver.study_checks import check_models
from kd_sweep.errors import SpecError
from kd_sweep.study.file.frozen import check_extension
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.conditions import Conditions, space_size
from kd_sweep.study.space.plan import plan
from kd_sweep.study.space.points import grid_points, planned_trials, points_of, random_point, trial_config
from kd_sweep.study.spec import StudySpec
from tests.study.space.specs import broken_rule, spec_of

LOSS, WEIGHT, TARGET = "distillation.loss", "distillation.non_target_class_weight", "distillation.target_class_weight"
DKD = {LOSS: "dkd"}


def test_a_grid_is_crossed_with_a_dimension_only_where_it_is_there():
    spec = spec_of(
        {
            WEIGHT: {"grid": [2, 4, 8], "when": DKD},
            LOSS: {"grid": ["kl", "dkd", "mse_logits"]},
            "distillation.temperature": {"grid": [1, 2], "when": {LOSS: ["kl", "dkd"]}},
            "seed": {"grid": [0, 1]},
        }
    )
    points = list(grid_points(spec))
    expected = [
        {LOSS: loss, "seed": seed}
        | ({WEIGHT: weight} if loss == "dkd" else {})
        | ({"distillation.temperature": temperature} if loss != "mse_logits" else {})
        for loss in ("kl", "dkd", "mse_logits")
        for weight in ([2, 4, 8] if loss == "dkd" else [None])
        for temperature in ([1, 2] if loss != "mse_logits" else [None])
        for seed in (0, 1)
    ]
    assert sorted(map(repr, map(sorted, (p.items() for p in points)))) == sorted(
        repr(sorted(({**point} | {k: float(v) for k, v in point.items() if k not in (LOSS, "seed")}).items()))
        for point in expected
    )
    assert len(points) == space_size(spec) == plan(spec).num_trials == (2 + 3 * 2 + 1) * 2


def test_where_it_is_absent_the_field_is_the_studys_and_ids_are_those_of_a_search_without():
    spec = spec_of({LOSS: {"grid": ["kl", "dkd"]}, WEIGHT: {"grid": [2, 4], "when": DKD}}, distillation={"alpha": 0.5})
    trials = planned_trials(spec)
    plain = spec_of({}, distillation={"alpha": 0.5})
    expected = [
        trial_config(plain, {LOSS: "kl"}).trial_id,
        *(trial_config(plain, {LOSS: "dkd", WEIGHT: weight}).trial_id for weight in (2, 4)),
    ]
    assert [trial.trial_id for trial in trials] == expected
    assert [trial.config.trial_id for trial in trials] == expected
    assert not hasattr(trials[0].config.distillation, "non_target_class_weight")
    assert trials[0].point == {LOSS: "kl"}
    assert list(points_of(spec, (trial.config for trial in trials)).values()) == [trial.point for trial in trials]


def test_a_parameter_of_one_loss_is_there_with_that_loss_alone():
    both = {"grid": ["kl", "dkd"]}
    implied, stated = (spec_of({LOSS: both, WEIGHT: {"grid": [2, 4], **when}}) for when in ({}, {"when": DKD}))
    assert [trial.point for trial in planned_trials(implied)] == [
        {LOSS: "kl"},
        {LOSS: "dkd", WEIGHT: 2.0},
        {LOSS: "dkd", WEIGHT: 4.0},
    ]
    assert [trial.trial_id for trial in planned_trials(implied)] == [t.trial_id for t in planned_trials(stated)]


SPACE: dict[str, dict[str, Any]] = {
    "ensemble_size": {"grid": [1, 2, 3]},
    "student.model": {"grid": ["resnet8", "resnet14", "resnet20"]},
    "student.optimizer": {"grid": ["sgd", "adamw"]},
    "student.weight_decay": {"grid": [0.0, 0.5]},
    "student.momentum": {"grid": [0.5, 0.9]},
    "student.batch_size": {"grid": [16, 32]},
}


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_the_points_are_those_of_the_whole_product_without_what_is_absent(data: st.DataObject) -> None:
    """The oracle crosses everything, takes away what its conditions exclude until nothing changes, and counts once."""
    names = data.draw(st.permutations(sorted(SPACE)))
    search = {}
    for index, name in enumerate(names):
        deciders = data.draw(st.sets(st.sampled_from(names[:index]), max_size=2)) if index else set()
        when = {
            decider: data.draw(st.lists(st.sampled_from(SPACE[decider]["grid"]), min_size=1, max_size=2, unique=True))
            for decider in sorted(deciders)
        }
        search[name] = SPACE[name] | ({"when": when} if when else {})
    search = {name: search[name] for name in data.draw(st.permutations(names))}
    spec = StudySpec.model_validate_json(json.dumps({"name": "s", "search": search}))
    expected = set()
    for values in itertools.product(*(SPACE[name]["grid"] for name in names)):
        point = dict(zip(names, values, strict=True))
        for name in names:  # those that decide come first
            if not all(point.get(key) in wanted for key, wanted in search[name].get("when", {}).items()):
                del point[name]
        expected.add(frozenset(point.items()))
    points = [frozenset(point.items()) for point in grid_points(spec)]
    assert len(points) == len(set(points)) == space_size(spec)
    assert set(points) == expected
    trials = [trial_config(spec, dict(point)) for point in points[:20]]
    back = points_of(spec, trials)
    assert [back[trial.trial_id] for trial in trials] == [dict(point) for point in points[:20]]


def test_random_draws_leave_it_out_and_otherwise_stay_the_same():
    search: dict[str, Any] = {LOSS: {"choice": ["kl", "dkd"]}, "distillation.alpha": {"uniform": [0, 0.9]}}
    plain = spec_of(search | {WEIGHT: {"uniform": [1, 10]}} | {LOSS: {"choice": ["dkd"]}}, "random")
    spec = spec_of({WEIGHT: {"uniform": [1, 10], "when": DKD}} | search, "random", {"num_trials": 40})
    points = [random_point(spec, index) for index in range(40)]
    for index, point in enumerate(points):
        assert (WEIGHT in point) == (point[LOSS] == "dkd")
        full = random_point(plain, index)
        assert point.get(WEIGHT, full[WEIGHT]) == full[WEIGHT]
        assert point["distillation.alpha"] == full["distillation.alpha"]
    assert {point[LOSS] for point in points} == {"kl", "dkd"}
    assert len(planned_trials(spec)) == 40


def test_random_draws_reach_every_point_of_a_lopsided_space():
    spec = spec_of(
        {LOSS: {"choice": ["kl", "dkd"]}, WEIGHT: {"uniform": [1, 10], "step": 0.1, "when": DKD}},
        "random",
        {"num_trials": 1000},
    )
    assert len(planned_trials(spec)) == space_size(spec) == 1 + 91


def test_conditions_on_conditional_dimensions():
    spec = spec_of(
        {
            "distillation.target_class_weight": {"grid": [1, 2], "when": {WEIGHT: [8]}},
            WEIGHT: {"grid": [4, 8], "when": DKD},
            LOSS: {"grid": ["kl", "dkd"]},
        }
    )
    assert Conditions(spec).order == (LOSS, WEIGHT, TARGET)
    assert [tuple(point.values()) for point in grid_points(spec)] == [
        ("kl",),
        ("dkd", 4.0),
        ("dkd", 8.0, 1.0),
        ("dkd", 8.0, 2.0),
    ]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (
            {WEIGHT: {"grid": [1], "when": {"distillation.los": "dkd"}}, LOSS: {"grid": ["kl"]}},
            f"search.{WEIGHT}.when.distillation.los: is not searched, so nothing depends on it; did you mean "
            f"'{LOSS}'? possible: {LOSS}",
        ),
        (
            {WEIGHT: {"grid": [1], "when": {LOSS: "mse"}}, LOSS: {"grid": ["kl", "dkd"]}},
            f"search.{WEIGHT}.when.{LOSS}: 'mse' is not an option, possible: dkd, kl, mse_logits, none",
        ),
        (
            {WEIGHT: {"grid": [1], "when": {LOSS: "none"}}, LOSS: {"grid": ["kl", "dkd"]}},
            f"search.{WEIGHT}.when.{LOSS}: 'none' is no value of search.{LOSS}; possible: 'kl', 'dkd'",
        ),
        (
            {"student.width": {"grid": [8, 16], "when": {"ensemble_size": 99}}, "ensemble_size": {"int": [1, 12]}},
            "search.student.width.when.ensemble_size: 99 is not at most 64",
        ),
        (
            {"student.width": {"grid": [8, 16], "when": {"ensemble_size": 13}}, "ensemble_size": {"int": [1, 12]}},
            "search.student.width.when.ensemble_size: 13 is no value of search.ensemble_size; possible: 1, 2, 3, 4, 5, "
            "6, 7, 8, … (12 in all)",
        ),
        (
            {"student.width": {"grid": [8, 16], "when": {"student.weight_decay": 0.5}}}
            | {"student.weight_decay": {"uniform": [0, 1]}},
            "search.student.width.when.student.weight_decay: is a continuous range here; a condition needs a grid, "
            "choice, int, or uniform with step",
        ),
        (
            {"student.width": {"grid": [8, 16], "when": {"student.batch_size": 16}}}
            | {"student.batch_size": {"grid": [16, 32], "when": {"student.width": 8}}},
            "search.student.width.when: student.width depends on student.batch_size depends on student.width: "
            "conditions must not go in a circle",
        ),
        (
            {"student.width": {"grid": [8, 16], "when": {"student.batch_size": 16, "seed": 1}}}
            | {"student.batch_size": {"grid": [16, 32], "when": {"seed": 0}}, "seed": {"grid": [0, 1]}},
            "search.student.width.when: no trial has all that is asked here: the conditions exclude each other",
        ),
        ({"student.width": {"grid": [8], "when": 3}}, "search.student.width.when: 3 is not a mapping"),
        (
            {"student.width": {"grid": [8], "when": {"seed": []}}, "seed": {"grid": [0]}},
            "search.student.width.when.seed: the list is empty: at least 1 value is needed",
        ),
    ],
)
def test_a_condition_that_cannot_hold_is_one_line(search, message):
    assert broken_rule(search, "random").startswith(message)


def test_the_line_of_a_condition_is_named():
    text = "name: s\nsearch:\n  distillation.loss: {grid: [kl, dkd]}\n  student.width:\n    grid: [8, 16]\n    when:\n"
    with pytest.raises(SpecError, match=r"possible: 'kl', 'dkd' \(s.yaml, line 7\)"):
        parse_spec(text + "      distillation.loss: none\n", "s.yaml")


def test_what_has_an_effect_wherever_it_is_there_is_accepted():
    both = {"grid": ["kl", "dkd"]}
    spec_of({LOSS: both, WEIGHT: {"grid": [1, 2], "when": DKD}})
    wrong = broken_rule({LOSS: both, WEIGHT: {"grid": [1, 2], "when": {LOSS: "kl"}}})
    assert wrong == f"search.{WEIGHT}.when.{LOSS}: 'kl' has no parameter 'non_target_class_weight'; possible: 'dkd'"
    ensembles = {"teacher_strengths": {"grid": [[0.0], [0.0, 1.0]]}}
    reducer = {"grid": ["teachers", "probabilities"]}
    assert "with one teacher" in broken_rule(ensembles | {"distillation.ensemble_reducer": reducer})
    spec_of(ensembles | {"distillation.ensemble_reducer": reducer | {"when": {"teacher_strengths": [[0.0, 1.0]]}}})


def test_values_of_one_section_are_checked_where_they_come_together():
    epochs = {"student.epochs": {"grid": [2, 20]}}
    assert "no trial of student can have" in broken_rule(epochs | {"student.warmup_epochs": {"grid": [3, 5]}})
    spec_of(epochs | {"student.warmup_epochs": {"grid": [3, 5], "when": {"student.epochs": 20}}})


def test_networks_are_checked_as_trials_have_them():
    models = {"student.model": {"grid": ["swin_t", "resnet18"]}, "student.stem": {"grid": ["full", "small"]}}
    data = {"image_size": 64}
    with pytest.raises(SpecError, match="stem"):
        check_models(spec_of(models, data=data), download=False)
    models["student.stem"]["when"] = {"student.model": "resnet18"}
    check_models(spec_of(models, data=data), download=False)


def test_the_value_outside_counts_when_a_study_goes_on():
    """Without a condition no trial has it; with one, those do that lack the dimension."""
    loss = {LOSS: {"grid": ["kl", "mse_logits"]}}
    temperature = {"distillation.temperature": {"grid": [1, 2], "when": {LOSS: "kl"}}}
    fixed: dict[str, Any] = {"student": {"width": 8}}
    width = {"student.width": {"grid": [4, 16]}}
    before = spec_of(loss | temperature | width)
    check_extension(before, spec_of(loss | temperature | width, **fixed))
    conditional = {"student.width": {"grid": [4, 16], "when": {LOSS: "kl"}}}
    before = spec_of(loss | temperature | conditional)
    with pytest.raises(SpecError, match=r"student\.width: 8 differs from 16"):
        check_extension(before, spec_of(loss | temperature | conditional, **fixed))


def test_bounds_include_the_value_outside():
    spec = spec_of(
        {"student.epochs": {"grid": [2, 4], "when": {"seed": 1}}, "seed": {"grid": [0, 1]}},
        student={"epochs": 20},
        scheduler={"name": "asha", "grace_period": 10},
    )
    assert plan(spec).student_epochs == 20 + 2 + 4


def test_a_condition_is_set_from_the_command_line():
    text = "name: s\nsearch: {distillation.loss: {grid: [kl, dkd]}, distillation.alpha: {uniform: [0, 1]}}\n"
    text += "sampler: {name: random}\n"
    spec = parse_spec(text, "s", ["search.distillation.alpha.when.distillation.loss=dkd"])
    assert spec.search["distillation.alpha"].when == {LOSS: ("dkd",)}
    spec = parse_spec(
        text,
        "s",
        ["search.distillation.alpha.when={distillation.loss: [kl]}", "search.distillation.alpha.grid=[0.1, 0.2]"],
    )
    assert spec.search["distillation.alpha"].model_dump() == {"grid": (0.1, 0.2), "when": {LOSS: ("kl",)}}

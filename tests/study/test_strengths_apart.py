"""Teachers at strengths of their own, and the student at its own."""

import json
import math

import pytest
from pydantic import ValidationError

from kd_sweep.errors import SpecError
from kd_sweep.study.file.frozen import frozen_yaml, parse_frozen
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.plan import plan
from kd_sweep.study.space.points import planned_trials, trial_config
from kd_sweep.study.trial import TrialConfig

WEAK_AND_STRONG = [
    [0], [1],
    [0, 0], [0, 1], [1, 0], [1, 1],
    [0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1],
]  # fmt: skip
APART = {"teacher_strengths": {"grid": WEAK_AND_STRONG}, "student_strength": {"grid": [0, 1]}}


def _spec(search, **content):
    return parse_spec(json.dumps({"name": "d", "search": search, **content}), "f.yaml")


def _rule(search, **content):
    with pytest.raises(SpecError) as caught:
        _spec(search, **content)
    return str(caught.value).removesuffix(" (f.yaml, line 1)")


def test_every_mix_of_two_strengths_in_ensembles_of_one_to_three_is_28_trials_and_6_teachers():
    found = plan(_spec(APART))
    assert (found.num_trials, found.num_teachers, found.exact) == (28, 6, True)
    assert {(teacher.augmentation_strength, teacher.member) for teacher in found.teachers} == {
        (strength, member) for strength in (0.0, 1.0) for member in (1, 2, 3)
    }
    assert {trial.config.stream.augmentation_strength for trial in found.trials} == {0.0, 1.0}
    assert len({trial.config.stream.stream_id for trial in found.trials}) == 2


def test_each_teacher_has_its_own_strength_and_all_see_the_student_s_images():
    trial = trial_config(_spec({}), {"teacher_strengths": [0.0, 1, 0.5], "student_strength": 0.25, "seed": 3})
    assert [(teacher.augmentation_strength, teacher.member) for teacher in trial.teachers] == [(0, 1), (1, 2), (0.5, 3)]
    assert trial.stream.augmentation_strength == 0.25
    assert (trial.ensemble_size, trial.at("augmentation_strength")) == (3, 0.5)


def test_a_teacher_is_the_same_one_in_a_study_of_one_strength():
    apart = trial_config(_spec({}), {"teacher_strengths": [0, 1]}).teachers
    alike = [trial_config(_spec({}), {"augmentation_strength": s, "ensemble_size": 2}).teachers for s in (0, 1)]
    assert [teacher.teacher_id for teacher in apart] == [alike[0][0].teacher_id, alike[1][1].teacher_id]


def test_a_student_without_a_strength_of_its_own_has_its_teachers_mean():
    trial = trial_config(_spec({}), {"teacher_strengths": [0.0, 0.0, 1.0]})
    assert trial.student_strength == pytest.approx(1 / 3)
    assert trial.stream.augmentation_strength == trial.student_strength


def test_the_strength_of_a_study_is_the_shorthand_for_both():
    both = trial_config(_spec({}), {"augmentation_strength": 0.5, "ensemble_size": 2})
    assert (both.teacher_strengths, both.student_strength) == ((0.5, 0.5), 0.5)
    apart = trial_config(_spec({}), {"augmentation_strength": 0.5, "student_strength": 0.0})
    assert (apart.teacher_strengths, apart.student_strength) == ((0.5,), 0.0)
    held = json.loads(both.model_dump_json())
    assert (held["teacher_strengths"], held["student_strength"]) == ([0.5, 0.5], 0.5)
    assert not {"augmentation_strength", "ensemble_size"} & held.keys()


def test_the_same_trial_in_other_words_is_the_same_trial():
    alike = {"augmentation_strength": 0.5, "ensemble_size": 2}
    points = [alike, {"teacher_strengths": [0.5, 0.5]}, {"teacher_strengths": [0.5, 0.5], "student_strength": 0.5}]
    alike, *same_ones = [trial_config(_spec({}), point) for point in [*points, alike | {"student_strength": 0.5}]]
    for same in same_ones:
        assert (same, same.trial_id) == (alike, alike.trial_id)
        assert same.stream.stream_id == alike.stream.stream_id
    others = [
        TrialConfig(teacher_strengths=(0.0, 1.0), student_strength=0.5),
        TrialConfig(teacher_strengths=(1.0, 0.0), student_strength=0.5),
        TrialConfig(teacher_strengths=(0.5, 0.5), student_strength=0.0),
    ]
    assert len({trial.trial_id for trial in [alike, *others]}) == 4


def test_what_a_trial_searched_is_read_back_whichever_way_it_was_written():
    trial = trial_config(_spec({}), {"augmentation_strength": 0.5, "ensemble_size": 2})
    assert (trial.at("teacher_strengths"), trial.at("student_strength")) == ((0.5, 0.5), 0.5)
    assert (trial.at("augmentation_strength"), trial.at("ensemble_size")) == (0.5, 2)
    apart = TrialConfig(teacher_strengths=(0.0, 1.0), student_strength=0.25)
    assert (apart.at("teacher_strengths"), apart.at("student_strength")) == ((0.0, 1.0), 0.25)


def test_a_trial_and_a_frozen_study_survive_json_and_yaml():
    spec = _spec(APART)
    assert parse_frozen(frozen_yaml(spec, {}), "f.yaml").spec == spec
    for trial in planned_trials(spec):
        again = TrialConfig.model_validate_json(trial.config.model_dump_json())
        assert (again, again.trial_id) == (trial.config, trial.config.trial_id)


@pytest.mark.parametrize("name", ["ensemble_size", "augmentation_strength"])
def test_a_point_does_not_name_the_teachers_in_two_ways(name):
    with pytest.raises(SpecError, match=f"^{name}: .* search.teacher_strengths.*; leave one of the two out"):
        trial_config(_spec({}), {"teacher_strengths": [0.0, 0.2], name: 1})


@pytest.mark.parametrize("strengths", [(), (0.0,) * 65, (1.5,)])
def test_a_trial_has_1_to_64_teachers_at_strengths_from_0_to_1(strengths):
    with pytest.raises(ValidationError, match="teacher_strengths"):
        TrialConfig(teacher_strengths=strengths)


@pytest.mark.parametrize(
    ("dimension", "rule"),
    [
        ({"grid": [[0], [0, 1.5]]}, ".grid[1]: 1.5 is not at most 1"),
        ({"grid": [["a"]]}, ".grid[0]: 'a' is not a number"),
        ({"grid": [[]]}, ".grid[0]: the list is empty: at least 1 value is needed"),
        ({"grid": [[0.0] * 65]}, ".grid[0]: a list is longer than 64 values"),
        ({"grid": [0.5]}, ".grid[0]: 0.5 is not a list, such as [1, 2]"),
        ({"grid": [[{}]]}, ".grid[0]: a list may hold nothing but finite numbers and text"),
        ({"grid": [[0, 1], [0.0, 1.0]]}, ".grid[1]: a list is in the list twice"),
        ({"uniform": [0, 1]}, ".uniform: teacher_strengths is a list of numbers, not a number; possible: grid, choice"),
    ],
)
def test_lists_that_no_ensemble_has(dimension, rule):
    assert _rule({"teacher_strengths": dimension}) == f"search.teacher_strengths{rule}"


def test_null_and_lists_where_they_mean_nothing():
    assert _rule({"student_strength": {"grid": [None]}}) == (
        "search.student_strength.grid[0]: null (nothing) is not a number"
    )
    assert _rule({"seed": {"grid": [[1]]}}) == "search.seed.grid[0]: a list is not a whole number"


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("ensemble_size", "is the length of each list in search.teacher_strengths; leave one of the two out"),
        (
            "augmentation_strength",
            "sets the strength of every teacher, as search.teacher_strengths does; leave one of the two out; the "
            "student's own is student_strength",
        ),
    ],
)
def test_what_the_lists_say_already_is_not_searched_beside_them(name, rule):
    assert _rule({"teacher_strengths": {"grid": [[0]]}, name: {"grid": [1]}}) == f"search.{name}: {rule}"


def test_a_metric_of_two_teachers_needs_lists_of_two():
    objective = {"objectives": [{"metric": "attention_iou_teachers", "mode": "min"}]}
    assert "the length of a list in search.teacher_strengths can be 1" in _rule(APART, **objective)
    _spec({"teacher_strengths": {"grid": [[0, 1], [1, 1]]}}, **objective)


def test_adaptive_samplers_get_an_upper_bound():
    search = {"teacher_strengths": {"choice": [[0], [0, 1], [1, 0]]}, "student_strength": {"uniform": [0, 1]}}
    many = plan(_spec(search, sampler={"name": "tpe", "num_trials": 50}))
    # Members 1 and 2, each at two strengths.
    assert (many.num_trials, many.num_teachers) == (50, 4)
    one = plan(_spec(search, sampler={"name": "tpe", "num_trials": 1}))
    assert (one.num_trials, one.num_teachers) == (1, 2)


def test_random_draws_and_ranges_of_the_student_s_strength():
    search = {"teacher_strengths": {"choice": [[0], [0, 1]]}, "student_strength": {"uniform": [0.25, 0.75]}}
    trials = planned_trials(_spec(search, sampler={"name": "random", "num_trials": 30}))
    assert {trial.config.teacher_strengths for trial in trials} == {(0.0,), (0.0, 1.0)}
    assert all(0.25 <= trial.config.stream.augmentation_strength <= 0.75 for trial in trials)
    assert math.isclose(sum(trial.config.ensemble_size == 2 for trial in trials) / 30, 0.5, abs_tol=0.35)

"""Studies whose teachers differ: `teachers`, its entries in a search, and `search.teacher_models`."""

import hashlib
from collections import Counter

import pytest
from pydantic import ValidationError

from kd_sweep.errors import SpecError
from kd_sweep.study.caveats import SIZES, caveats
from kd_sweep.study.file.frozen import check_extension, frozen_yaml, parse_frozen
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.recipe import Learner
from kd_sweep.study.space.plan import plan
from kd_sweep.study.space.points import planned_trials, points_of, trial_config
from kd_sweep.study.trial import TrialConfig

THREE = """
name: mix
teacher: {epochs: 4, width: 8}
teachers:
  - {model: resnet8}
  - {model: wrn-16-2, epochs: 6}
  - {model: resnet14, width: 4}
"""
MODELS = "name: mix\nsearch: {teacher_models: {grid: [[resnet8], [wrn-16-2], [resnet8, wrn-16-2]]}}\n"


def spec_of(text, *overrides):
    return parse_spec(text, "f.yaml", overrides)


def broken_rule(text):
    with pytest.raises(SpecError) as caught:
        spec_of(text)
    return str(caught.value)


def learners(text, **point):
    return trial_config(spec_of(text), point).learners


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_an_entry_has_what_it_gives_and_the_rest_of_the_common_section():
    found = learners(THREE)
    assert [learner.model for learner in found] == ["resnet8", "wrn-16-2", "resnet14"]
    assert [learner.epochs for learner in found] == [4, 6, 4]
    assert [getattr(learner, "width", None) for learner in found] == [8, None, 4]


@pytest.mark.parametrize(
    ("size", "models"),
    [
        (1, "resnet8"),
        (2, "resnet8 wrn-16-2"),
        (3, "resnet8 wrn-16-2 resnet14"),
        (5, "resnet8 wrn-16-2 resnet14 resnet8 wrn-16-2"),
    ],
)
def test_a_smaller_ensemble_takes_the_first_entries_and_a_larger_one_goes_through_them_again(size, models):
    searched = THREE + f"search: {{ensemble_size: {{grid: [3, {size if size != 3 else 4}]}}}}"
    assert trial_config(spec_of(searched), {"ensemble_size": size}).teacher_models == tuple(models.split())


def test_without_a_size_the_ensemble_is_the_list():
    (trial,) = planned_trials(spec_of(THREE))
    assert trial.config.ensemble_size == 3
    (trial,) = planned_trials(spec_of(THREE + "search: {teacher_strengths: {grid: [[0.0, 0.5, 0.0, 1.0]]}}"))
    assert trial.config.teacher_models == ("resnet8", "wrn-16-2", "resnet14", "resnet8")


def test_ids_are_digests_of_what_can_be_written_down_by_hand():
    (trial,) = planned_trials(spec_of("name: d\nteachers: [{epochs: 4}, {model: resnet14}]"))
    members = '"members":[{"epochs":4},{"model":"resnet14"}]'
    digested = f'{{"data":{{}},"kind":"trial",{members},"teacher":{{"epochs":4}},"teacher_strengths":[0,0]}}'
    assert trial.trial_id == trial.config.trial_id == sha256(digested)
    teacher = '{"augmentation":{},"augmentation_strength":0,"data":{},"kind":"teacher","learner":{"model":"resnet14"},'
    assert trial.config.teachers[1].teacher_id == sha256(teacher + '"member":2,"seed":0}')


@pytest.mark.parametrize(
    "text",
    [
        "teacher: {model: resnet14, epochs: 4}\nteachers: [{}, {}]",
        "teachers: [{model: resnet14, epochs: 4}, {model: resnet14, epochs: 4}]",
        "teacher: {epochs: 4}\nteachers: [{model: resnet14}]\nsearch: {ensemble_size: 2}",
        "teacher: {epochs: 4}\nsearch: {teacher_models: {grid: [[resnet14, resnet14]]}}",
        "teachers: [{model: resnet14, epochs: 4}]\nsearch: {teacher_models: {grid: [[resnet14, resnet14]]}}",
    ],
)
def test_equal_teachers_are_one_configuration_however_they_are_written(text):
    plain = "name: d\nteacher: {model: resnet14, epochs: 4}\nsearch: {ensemble_size: 2}"
    (expected,), (found,) = planned_trials(spec_of(plain)), planned_trials(spec_of(f"name: d\n{text}"))
    assert (found.config, found.trial_id) == (expected.config, expected.trial_id)
    assert found.config.members == ()


def test_a_member_is_the_same_teacher_in_a_mixed_ensemble_and_one_of_equals():
    mixed = [trial.config.teachers for trial in planned_trials(spec_of(MODELS))][2]
    equal = [
        trial_config(spec_of(f"name: d\nteacher: {{model: {model}}}"), {"ensemble_size": 2}).teachers
        for model in ("resnet8", "wrn-16-2")
    ]
    assert [teacher.teacher_id for teacher in mixed] == [equal[0][0].teacher_id, equal[1][1].teacher_id]
    assert [teacher.stream.stream_id for teacher in mixed] == [
        equal[0][0].stream.stream_id,
        equal[1][1].stream.stream_id,
    ]


def test_teachers_are_planned_once_for_all_ensembles_and_with_their_own_epochs():
    found = plan(spec_of(THREE + "search: {ensemble_size: {grid: [1, 2, 3, 5]}, seed: {grid: [0, 1]}}"))
    assert (found.num_trials, found.num_teachers) == (8, 10)
    assert found.teacher_epochs == 2 * (4 + 6 + 4 + 4 + 6)
    needed = {teacher.teacher_id for trial in found.trials for teacher in trial.config.needed_teachers}
    assert {teacher.teacher_id for teacher in found.teachers} == needed


def test_affinity_is_measured_with_member_1_s_own_network():
    text = "metrics: {affinity: true}\nsearch: {augmentation_strength: 0.5}"
    (trial,) = planned_trials(spec_of("name: d\nteachers: [{model: wrn-16-2}, {model: resnet14}]\n" + text))
    assert trial.config.reference_teacher.learner.model == "wrn-16-2"
    assert Counter(teacher.learner.model for teacher in trial.config.needed_teachers) == {"wrn-16-2": 2, "resnet14": 1}
    assert plan(trial.spec).num_teachers == 3


def test_a_common_field_that_is_searched_varies_for_those_without_one_of_their_own():
    search = "search: {teacher.epochs: {grid: [3, 5]}, teachers.0.learning_rate: {grid: [0.1, 0.2]}}"
    for spec in (spec_of(THREE + search), parse_frozen(frozen_yaml(spec_of(THREE + search), {}), "f").spec):
        trials = [trial.config for trial in planned_trials(spec)]
        assert [[learner.epochs for learner in trial.learners] for trial in trials] == [[3, 6, 3]] * 2 + [[5, 6, 5]] * 2
        assert [[learner.learning_rate for learner in trial.learners] for trial in trials] == [
            [0.1, 0.1, 0.1],
            [0.2, 0.1, 0.1],
        ] * 2


SPACES = [
    THREE,
    THREE + "search: {ensemble_size: {grid: [1, 2, 4]}, teachers.0.epochs: {grid: [5, 6]}}",
    THREE + "search: {teacher.epochs: {grid: [3, 5]}, teachers.1.learning_rate: {grid: [0.1, 0.2]}, teacher.width: 8}",
    THREE
    + "search: {ensemble_size: {grid: [2, 3]}, teachers.2.epochs: {grid: [7, 9], when: {ensemble_size: 3}}, seed: 1}",
    THREE + "search: {teacher_strengths: {grid: [[0.0, 1.0], [0.0, 0.5, 1.0]]}}",
    MODELS,
    MODELS + "teachers: [{model: wrn-16-2, optimizer: adamw, learning_rate: 0.001}]\nteacher: {width: 4}",
    "name: d\nsearch: {teacher_models: {grid: [[resnet8, resnet14], [resnet14, resnet8]]}, "
    "teacher_strengths: {grid: [[0.0, 1.0], [1.0, 0.0]]}, teacher.learning_rate: {grid: [0.1, 0.2]}}",
]


@pytest.mark.parametrize("text", SPACES)
def test_what_a_trial_searched_is_read_back_from_it_and_all_of_it_survives_json_and_yaml(text):
    spec = spec_of(text)
    frozen = parse_frozen(frozen_yaml(spec, {}), "f.yaml").spec
    assert frozen == spec
    trials = planned_trials(spec)
    assert [trial.trial_id for trial in planned_trials(frozen)] == [trial.trial_id for trial in trials]
    configs = [TrialConfig.model_validate_json(trial.config.model_dump_json()) for trial in trials]
    assert [config.trial_id for config in configs] == [trial.trial_id for trial in trials]
    assert points_of(frozen, configs) == {trial.trial_id: trial.point for trial in trials}


def test_the_study_that_is_launched_can_be_launched_as_it_was_frozen():
    spec = spec_of(SPACES[2])
    assert spec_of(frozen_yaml(spec, {})) == spec


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("- {model: resnet8}\n- {wdth: 4}", "teachers[1].wdth: unknown key, did you mean 'width'? (line 4)"),
        (
            "- {model: resnet8}\n- {model: wrn-16-2,\n   width: 4}",
            "teachers[1].width: 4 has no effect with model 'wrn-16-2'; possible: with resnet8 … resnet110 (line 5)",
        ),
        ("- {model: 8}", "teachers[0].model: 8 is not text; write '8' in quotes (line 3)"),
        ("- {model: 'a:b'}", "teachers[0].model: 'a:b' is not an option: no plug-in 'a' that has a network (line 3)"),
        ("- resnet8", "teachers[0]: 'resnet8' is not a mapping of keys to values (line 3)"),
        ("- {epochs: 0}", "teachers[0].epochs: 0 is not at least 1 (line 3)"),
        ("- {}\n- {epochs: 4, warmup_epochs: 5}", "teachers[1]: warmup_epochs 5 is not less than epochs 4 (line 4)"),
        (
            "- {momentum: 0.5, optimizer: adamw}",
            "teachers[0].momentum: 0.5 has no effect with optimizer 'adamw' (line 3)",
        ),
        (
            "- {epochs: 4}\nteacher: {epochs: 6}",
            "teacher.epochs: 6 has no effect where every teacher has its own (line 4)",
        ),
        (
            "- {model: wrn-16-2}\nteacher: {width: 6}",
            "teacher.width: 6 has no effect where every teacher has its own, or none (line 4)",
        ),
        (
            "- {}\n- {width: 4}\nsearch: {ensemble_size: 1}",
            "teachers[1]: has no effect: no ensemble is larger than 1, and those take the first 1 entry (line 4)",
        ),
        (
            "- {}\n- {width: 4}\nsearch: {ensemble_size: {grid: [1, 2]}, teachers.1.epochs: {grid: [3, 4]}}",
            "search.teachers.1.epochs: has no effect in an ensemble of 1, which takes the first entries of teachers, "
            "so trials would differ in nothing but their name (line 5)",
        ),
        (
            "- {}\nsearch: {teachers.1.epochs: 3}",
            "search.teachers.1.epochs: is a field of entry 1 of teachers, which has 1 (line 4)",
        ),
        (
            "- {}\nsearch: {teachers.0.epoch: 3}",
            "search.teachers.0.epoch: cannot be searched, did you mean 'teachers.0.epochs'? (line 4)",
        ),
        (
            "- {}\nsearch: {teachers.0.model: resnet14}",
            "search.teachers.0.model: cannot be searched; write the ensembles as search.teacher_models (line 4)",
        ),
        (
            "- {width: 4}\nsearch: {teachers.0.width: {grid: [4, 8]}, teacher.model: {grid: [resnet8, wrn-16-2]}}",
            "search.teachers.0.width: is of a model that teacher.model decides on (line 4)",
        ),
        (
            "- {model: wrn-16-2}\nsearch: {teachers.0.width: {grid: [4, 8]}}",
            "search.teachers.0.width: has no effect with model 'wrn-16-2'; possible: with resnet8 … resnet110 (line 4)",
        ),
        (
            "- {warmup_epochs: 3}\nsearch: {teacher.epochs: {grid: [4, 2]}}",
            "search.teacher.epochs: no teacher can have warmup_epochs 3.0: warmup_epochs 3 is not less than epochs 2"
            " (line 4)",
        ),
    ],
)
def test_mistakes_in_entries_are_one_line_with_the_line_of_the_file(text, rule):
    told, line = rule.removesuffix(")").rsplit(" (line ", 1)
    message = broken_rule(f"name: d\nteachers:\n{text}")
    assert message.startswith(told)
    assert message.endswith(f"(f.yaml, line {line})")
    assert "\n" not in message


def test_teachers_are_a_list():
    rule = "teachers: a mapping is not a list, such as [{model: resnet8}, {model: resnet14}] (f.yaml, line 2)"
    assert broken_rule("name: d\nteachers: {model: resnet8}") == rule


@pytest.mark.parametrize(
    ("search", "rule"),
    [
        (
            "teacher_models: {grid: [resnet8]}",
            "search.teacher_models.grid[0]: 'resnet8' is not a list, such as [resnet8, resnet14]",
        ),
        ("teacher_models: {grid: [[]]}", "search.teacher_models.grid[0]: the list is empty"),
        ("teacher_models: {grid: [['a:b']]}", "search.teacher_models.grid[0]: 'a:b' is not an option: no plug-in 'a'"),
        (
            "teacher_models: {grid: [[resnet8], [resnet8]]}",
            "search.teacher_models.grid[1]: a list is in the list twice",
        ),
        (
            "teacher_models: {uniform: [0, 1]}",
            "search.teacher_models.uniform: teacher_models is a list of models, not a number; possible: grid, choice",
        ),
        (
            "teacher_models: {grid: [[resnet8]]}, ensemble_size: 1",
            "search.ensemble_size: is the length of each list in search.teacher_models; leave one of the two out",
        ),
        (
            "teacher_models: {grid: [[resnet8]]}, teacher.model: resnet14",
            "search.teacher.model: stands beside search.teacher_models, which names the model of every teacher",
        ),
        (
            "teacher_models: {grid: [[resnet8], [resnet8, resnet14]]}, teacher_strengths: {grid: [[0.0, 1.0]]}",
            "search.teacher_models: has to have lists of one length with search.teacher_strengths beside it; they "
            "have 1, 2",
        ),
        (
            "teacher_models: {grid: [[resnet8]], when: {seed: 0}}, seed: {grid: [0, 1]}",
            "search.teacher_models.when: is not possible here",
        ),
        ("teacher_models: {grid: [[wrn-16-2]]}, teacher.width: {grid: [4, 8]}", "search.teacher.width: has no effect"),
    ],
)
def test_mistakes_in_lists_of_models(search, rule):
    assert broken_rule(f"name: d\nsearch: {{{search}}}").startswith(rule)


@pytest.mark.parametrize(
    ("more", "rule"),
    [
        (
            "teachers: [{model: resnet20}]",
            "teachers[0]: has no effect: no ensemble of search.teacher_models has a 'resnet20'",
        ),
        ("teachers: [{width: 4}, {model: resnet8}]", "teachers[1].model: 'resnet8' has an entry already"),
        ("teacher: {model: resnet14}", "teacher.model: 'resnet14' has no effect where every teacher has its own"),
        (
            "teachers: [{width: 4}]\nteacher: {width: 6}",
            "teacher.width: 6 has no effect where every teacher has its own",
        ),
    ],
)
def test_entries_beside_lists_of_models_are_those_of_their_model(more, rule):
    assert broken_rule(MODELS + more).startswith(rule)


def test_a_trial_has_as_many_members_as_strengths():
    with pytest.raises(ValidationError, match="members has 2 networks for 3 teachers"):
        TrialConfig(teacher_strengths=(0.0,) * 3, members=(Learner(), Learner(model="resnet14")))
    trial = TrialConfig(teacher_strengths=(0.0,) * 2, members=(Learner(model="resnet14"), Learner()))
    assert trial.teacher.model == "resnet14"


def test_a_sampler_that_adapts_is_planned_with_bounds_that_hold_every_ensemble():
    text = "sampler: {name: tpe, num_trials: 10}\n"
    found = plan(spec_of(MODELS + text))
    assert (found.num_trials, found.num_teachers, found.exact) == (3, 3, False)
    found = plan(spec_of(THREE + text + "search: {ensemble_size: {int: [1, 4]}}"))
    assert (found.num_trials, found.num_teachers, found.teacher_epochs) == (4, 4, 4 * 6)


def test_a_larger_set_and_a_field_of_an_entry_can_be_changed_from_outside():
    spec = spec_of(THREE, "teachers.0.epochs=9", "teachers.3={model: resnet20}", "search.teachers.1.gamma.grid=[0.1]")
    assert [learner.epochs for learner in planned_trials(spec)[0].config.learners] == [9, 6, 4, 4]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("teacher: {model: resnet14}", "teachers: [{model: resnet14}, {model: wrn-16-2}]"),
        ("teachers: [{epochs: 4}, {model: wrn-16-2}]", "teachers: [{epochs: 4}, {model: wrn-16-2}, {width: 4}]"),
        ("teachers: [{}, {model: wrn-16-2}]", "search: {teacher_models: {grid: [[resnet8, wrn-16-2], [wrn-16-2]]}}"),
        (MODELS.partition("\n")[2], "search: {teacher_models: {grid: [[resnet14]]}}\nteachers: [{model: resnet14}]"),
        (
            "teachers: [{}, {model: wrn-16-2}]\nsearch: {teachers.1.epochs: {grid: [3]}}",
            "teachers: [{}, {model: wrn-16-2, epochs: 9}]\nsearch: {teachers.1.epochs: {grid: [3, 4]}}",
        ),
    ],
)
def test_a_study_goes_on_with_more_teachers(old, new):
    check_extension(spec_of(f"name: d\n{old}"), spec_of(f"name: d\n{new}"))


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (
            "teacher: {}",
            "teachers: [{model: resnet14}]",
            "teachers, member 1, model: 'resnet14' differs from 'resnet8'",
        ),
        (
            "teachers: [{}, {model: wrn-16-2}]",
            "teachers: [{}, {model: wrn-16-2, epochs: 4}]",
            "teachers, member 2, epochs: 4 differs from 8",
        ),
        ("teachers: [{}, {width: 4}]", "teacher: {width: 4}", "teachers, member 1, width: 4 differs from 16"),
        (
            MODELS.partition("\n")[2],
            MODELS.partition("\n")[2] + "teachers: [{model: wrn-16-2, epochs: 4}]",
            "teachers, member 1, epochs: 4 differs from 8",
        ),
        (
            "teachers: [{}, {model: wrn-16-2}]\nsearch: {ensemble_size: 4}",
            "teachers: [{}, {model: wrn-16-2}, {model: resnet14}]",
            "teachers, member 3, model: 'resnet14' differs from 'resnet8'",
        ),
    ],
)
def test_a_study_does_not_go_on_with_other_teachers(old, new, rule):
    with pytest.raises(SpecError) as caught:
        check_extension(spec_of(f"name: d\n{old}"), spec_of(f"name: d\n{new}"))
    assert str(caught.value).startswith(f"{rule}, with which study 'd' was launched; results would mix")


@pytest.mark.parametrize(("sizes", "expected"), [("[1, 2, 3]", [SIZES]), ("[3, 6]", []), ("[3]", [])])
def test_effects_of_size_that_are_of_architecture_too_have_a_caveat(sizes, expected):
    assert caveats(spec_of(THREE + f"search: {{ensemble_size: {{grid: {sizes}}}}}")) == expected

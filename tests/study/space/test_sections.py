"""Trials and teachers that are listed without their configurations are those of the configurations."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kd_sweep.errors import SpecError
from kd_sweep.study.space.plan import plan
from kd_sweep.study.space.points import planned_teachers, planned_trials, random_point, trial_config
from kd_sweep.study.space.sections import Parts
from kd_sweep.study.spec import StudySpec
from kd_sweep.study.trial import TeacherConfig

DIMENSIONS: dict[str, Any] = {
    "seed": {"int": [0, 3]},
    "student_strength": {"choice": [0.0, 0.25, 1]},
    "student.width": {"choice": [4, 8, 16]},
    "student.learning_rate": {"uniform": [0.01, 0.2], "log": True},
    "student.batch_size": {"grid": [32, 64]},
    "teacher.epochs": {"int": [4, 8]},
    "teacher.weight_decay": {"choice": [0.0, 5e-4, 1e-3]},
    "data.split_seed": {"choice": [0, 1]},
    "data.imbalance_ratio": {"choice": [None, 10.0]},
    "augmentation.pipeline": {"choice": ["strength", "weak_strong", "mixup"]},
    "distillation.loss": {"choice": ["kl", "dkd", "none"]},
    "distillation.temperature": {"uniform": [1, 8], "step": 0.1},
    "metrics.affinity": {"choice": [False, True]},
}
TEACHERS: tuple[dict[str, Any], ...] = (
    {},
    {"augmentation_strength": {"uniform": [0, 1], "step": 0.25}, "ensemble_size": {"int": [1, 3]}},
    {"teacher_strengths": {"choice": [[0.0], [0.5], [0.5, 0.5], [0.1, 0.2, 0.6], [0.0, 1.0]]}},
)


def study(search: dict[str, Any], fingerprint: str | None = None, **fields: Any) -> StudySpec:
    content = {"name": "s", "search": search, "sampler": {"name": "random", "num_trials": 12}} | fields
    # Without the rules that span sections, so that any fields may be searched together.
    spec = StudySpec.model_validate_json(json.dumps(content))
    return spec.model_copy(update={"data": spec.data.model_copy(update={"fingerprint": fingerprint})})


def each_once(teachers: list[TeacherConfig]) -> list[str]:
    return list(dict.fromkeys(teacher.teacher_id for teacher in teachers))


@settings(max_examples=60, deadline=None)
@given(
    names=st.sets(st.sampled_from(sorted(DIMENSIONS))),
    teachers=st.sampled_from(TEACHERS),
    fingerprint=st.sampled_from([None, "0123abcd"]),
    base=st.sampled_from([{}, {"teacher": {"width": 8}, "student": {"epochs": 3}, "metrics": {"affinity": True}}]),
    sampler_seed=st.integers(0, 1000),
)
def test_a_listed_trial_is_its_configuration(
    names: set[str], teachers: dict[str, Any], fingerprint: str | None, base: dict[str, Any], sampler_seed: int
) -> None:
    search = {name: DIMENSIONS[name] for name in sorted(names)} | teachers
    sampler = {"name": "random", "num_trials": 12, "seed": sampler_seed}
    spec = study(search, fingerprint, sampler=sampler, **base)
    trials = planned_trials(spec)
    configs = [trial_config(spec, trial.point) for trial in trials]
    assert [trial.trial_id for trial in trials] == [config.trial_id for config in configs]
    assert [trial.config for trial in trials] == configs
    assert [trial.epochs for trial in trials] == [config.student.epochs for config in configs]
    needed = each_once([teacher for config in configs for teacher in config.needed_teachers])
    listed = planned_teachers(spec, trials)
    assert [teacher.teacher_id for teacher in listed] == needed
    assert [teacher.epochs for teacher in listed] == [teacher.config.learner.epochs for teacher in listed]


def test_points_that_are_one_trial_are_listed_once() -> None:
    search = {"teacher_strengths": {"grid": [[0.5], [0.5, 0.5]]}, "student_strength": {"grid": [0.5, 0.0]}}
    assert len(planned_trials(study(search, sampler={"name": "grid"}))) == 4
    also = {"seed": {"grid": [0]}, "ensemble_size": {"grid": [1]}}
    (alone,) = planned_trials(study({}))
    (named,) = planned_trials(study(also, sampler={"name": "grid"}))
    assert alone.trial_id == named.trial_id


def test_a_point_that_no_trial_can_have_is_named() -> None:
    spec = study({"student.epochs": {"int": [2, 9]}})
    broken = spec.model_copy(update={"student": spec.student.model_copy(update={"warmup_epochs": 5.0})})
    with pytest.raises(SpecError, match=r"no trial can have student\.epochs \d: warmup_epochs 5 is not less than"):
        planned_trials(broken)


def test_a_section_is_checked_once_for_all_trials_that_share_it() -> None:
    spec = study({"student.epochs": {"grid": [2, 3]}, "seed": {"grid": list(range(50))}}, sampler={"name": "grid"})
    parts = Parts(spec)
    sections = {id(parts.part("student", trial.values)) for trial in planned_trials(spec)}
    assert len(sections) == 2
    assert parts.part("teacher", (2, 0)) is parts.part("teacher", (3, 1))


@pytest.mark.parametrize(
    "search",
    [
        {
            "augmentation_strength": {"grid": [index / 10 for index in range(10)]},
            "ensemble_size": {"grid": list(range(1, 11))},
            "distillation.temperature": {"grid": list(range(1, 11))},
            "student.learning_rate": {"grid": [index / 10 for index in range(1, 11)]},
            "seed": {"grid": list(range(10))},
        },
        {"augmentation_strength": {"grid": [index / 10 for index in range(10)]}, "seed": {"grid": list(range(10_000))}},
    ],
    ids=["few teachers", "a teacher for each trial"],
)
def test_a_hundred_thousand_trials_are_planned_in_seconds(search: dict[str, Any]) -> None:
    spec = study(search, sampler={"name": "grid"})
    began = time.process_time()
    planned = plan(spec)
    assert time.process_time() - began < 10  # 1 s on one core; with a configuration for each it takes 130
    assert planned.num_trials == 100_000
    assert planned.num_teachers == (1000 if "ensemble_size" in search else 100_000)
    for index in range(0, 100_000, 9_973):
        assert planned.trials[index].trial_id == planned.trials[index].config.trial_id


def test_values_of_a_listed_trial_are_those_of_its_draw() -> None:
    spec = study(DIMENSIONS | TEACHERS[1])
    assert planned_trials(spec)[0].point == random_point(spec, 0)

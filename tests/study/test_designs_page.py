"""The studies of docs/designs.md: each is planned, and costs what the page says."""

import re

import pytest

from kd_sweep.errors import SpecError
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.plan import plan
from tests.designs_page import STUDIES


@pytest.mark.parametrize("text", STUDIES, ids=lambda text: re.search(r"name: (\S+)", text)[1])
def test_a_study_has_as_many_trials_as_its_first_line_says(text):
    stated = int(re.search(r"= (\d+) trials", text.splitlines()[0])[1])
    assert plan(parse_spec(text, "designs.md")).num_trials == stated


def planned(fixed="", **search):
    lines = "\n".join(f"  {name.replace('__', '.')}: {values}" for name, values in search.items())
    return plan(parse_spec(f"name: d\n{fixed}\nsearch:\n{lines}\n", "s.yaml"))


def test_students_alone_beside_others_cost_no_teachers():
    strengths = {"augmentation_strength": "{grid: [0.0, 0.5]}"}
    taught, both = planned(**strengths), planned(**strengths, distillation__loss="{grid: [kl, none]}")
    assert (both.num_trials, both.num_teachers) == (2 * taught.num_trials, taught.num_teachers)
    assert both.teacher_epochs == taught.teacher_epochs


def test_random_weights_cost_no_epochs_and_shuffled_labels_those_of_other_teachers():
    strengths = {"augmentation_strength": "{grid: [0.0, 0.5]}", "ensemble_size": "{grid: [1, 2]}"}
    labels = planned(**strengths)
    shuffled = planned(**strengths, distillation__teacher_control="shuffled_labels")
    random = planned(**strengths, distillation__teacher_control="random_weights")
    assert (shuffled.num_teachers, shuffled.teacher_epochs) == (labels.num_teachers, labels.teacher_epochs)
    assert (random.num_teachers, random.teacher_epochs) == (2, 0)  # a member each, at whatever strength
    assert random.student_epochs == labels.student_epochs
    every = planned(**strengths, distillation__teacher_control="{grid: [none, shuffled_labels, random_weights]}")
    assert (every.num_teachers, every.teacher_epochs) == (4 + 4 + 2, 2 * labels.teacher_epochs)


def test_an_ensemble_that_shares_epochs_costs_what_one_teacher_does():
    shared = "teacher: {epochs: 9}\ndistillation: {ensemble_epochs: shared}"
    whole = planned(shared, ensemble_size="{grid: [1, 2, 3, 4]}")
    assert (whole.num_trials, whole.num_teachers) == (4, 1 + 2 + 3 + 4)
    assert whole.teacher_epochs == 9 + 2 * 4 + 3 * 3 + 4 * 2  # rounded down
    arms = planned(
        "teacher: {epochs: 8}",
        ensemble_size="{grid: [1, 2]}",
        distillation__ensemble_epochs="{grid: [each, shared], when: {ensemble_size: 2}}",
    )
    assert (arms.num_trials, arms.num_teachers, arms.teacher_epochs) == (3, 2 + 2, 8 + 8 + 4 + 4)
    for found in (whole, arms):
        assert [trial.trial_id for trial in found.trials] == [trial.config.trial_id for trial in found.trials]
        needed = {teacher.teacher_id for trial in found.trials for teacher in trial.config.needed_teachers}
        assert {teacher.teacher_id for teacher in found.teachers} == needed


@pytest.mark.parametrize(
    ("fixed", "message"),
    [
        ("teacher: {epochs: 2}", "ensemble_epochs: 'shared' leaves none of 2 epochs to each of 3 teachers"),
        ("teacher: {schedule: step, milestones: [4]}", "ensemble_epochs: 'shared' has no milestones for fewer epochs"),
        ("teachers: [{epochs: 2}, {}, {}]", "ensemble_epochs: 'shared' leaves none of 2 epochs to each of 3 teachers"),
    ],
)
def test_teachers_that_cannot_share_epochs_are_refused_before_anything_runs(fixed, message):
    with pytest.raises(SpecError, match=message):
        planned(f"{fixed}\ndistillation: {{ensemble_epochs: shared}}", ensemble_size=3)


def test_views_share_all_teachers():
    one = planned(augmentation_strength=0.5)
    three = planned(augmentation_strength=0.5, distillation__teacher_view="{grid: [consistent, independent, fixed]}")
    assert (three.num_trials, three.teachers) == (3, three.teachers[:1])
    assert [teacher.teacher_id for teacher in three.teachers] == [teacher.teacher_id for teacher in one.teachers]


def test_two_strengths_are_a_factorial_whose_teachers_are_shared():
    both = "{grid: [0.0, 0.5, 1.0]}"
    found = planned(augmentation_strength=both, student_strength=both, seed="{grid: [0, 1, 2]}")
    assert (found.num_trials, found.num_teachers) == (27, 9)
    cells = {(trial.config.teacher_strengths, trial.config.student_strength) for trial in found.trials}
    assert len(cells) == 9


def test_the_ids_that_a_plan_counts_are_those_of_its_trials_and_teachers():
    found = planned(
        distillation__teacher_control="{grid: [none, shuffled_labels, random_weights]}",
        distillation__teacher_view="{grid: [consistent, independent], when: {distillation.teacher_control: none}}",
        augmentation_strength="{grid: [0.5, 1.0]}",
    )
    assert [trial.trial_id for trial in found.trials] == [trial.config.trial_id for trial in found.trials]
    needed = {teacher.teacher_id for trial in found.trials for teacher in trial.config.needed_teachers}
    assert {teacher.teacher_id for teacher in found.teachers} == needed
    assert all(teacher.config.teacher_id == teacher.teacher_id for teacher in found.teachers)
    assert all(teacher.config.epochs == teacher.epochs for teacher in found.teachers)

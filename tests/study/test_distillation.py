"""Rules of the `distillation` section, each one line with its field and line."""

import pytest

from kd_sweep.errors import SpecError
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.plan import plan
from kd_sweep.study.space.points import planned_trials
from kd_sweep.study.trial import TrialConfig


def spec_text(distillation, search="{ensemble_size: {grid: [1, 2, 3]}}"):
    return f"name: d\ndistillation: {distillation}\nsearch: {search}\n"


def message_of(text):
    with pytest.raises(SpecError) as caught:
        parse_spec(text, "d.yaml")
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("distillation", "rule"),
    [
        (
            "{loss: mse_logits, ensemble_reducer: probabilities}",
            "'probabilities' has no effect with loss 'mse_logits'; possible: with 'dkd' or 'kl'",
        ),
        ("{ensemble_reducer: logits}", "ensemble_reducer"),
        ("{teacher_weights: [1.0, 2.0]}", "has 2 weights, and an ensemble can have 3 teachers; give one for each"),
        ("{teacher_weights: [1.0, 0.0, 1.0]}", "teacher_weights"),
        ("{teacher_weights: []}", "teacher_weights"),
        ("{loss: dkd, non_target_class_weight: -1.0}", "non_target_class_weight"),
        ("{loss: hinton}", "distillation.loss"),
    ],
)
def test_mistakes_are_one_line_with_their_line(distillation, rule):
    message = message_of(spec_text(distillation))
    assert rule in message
    assert "(d.yaml, line 2)" in message


def test_what_a_study_gives_one_loss_stays_with_it_where_others_are_searched():
    text = spec_text(
        "{ensemble_reducer: probabilities, non_target_class_weight: 2.0}",
        "{ensemble_size: {grid: [2]}, distillation.loss: {grid: [kl, dkd, mse_logits]}}",
    )
    kl, dkd, mse = (trial.config.distillation for trial in planned_trials(parse_spec(text, "d.yaml")))
    assert (kl.ensemble_reducer, dkd.ensemble_reducer) == ("probabilities", "probabilities")
    assert dkd.non_target_class_weight == 2.0
    assert not hasattr(kl, "non_target_class_weight")
    assert not hasattr(mse, "ensemble_reducer")
    plain = parse_spec(spec_text("{loss: mse_logits}", "{ensemble_size: {grid: [2]}}"), "d.yaml")
    assert planned_trials(plain)[0].config.distillation == mse


def test_a_searched_parameter_that_a_loss_lacks_makes_no_further_trials_of_it():
    text = spec_text("{}", "{distillation.loss: {grid: [kl, mse_logits]}, distillation.temperature: {grid: [1, 4]}}")
    trials = planned_trials(parse_spec(text, "d.yaml"))
    assert [trial.config.at("distillation.temperature") for trial in trials] == [1.0, 4.0, None]


def test_a_searched_parameter_that_no_loss_has_is_refused():
    text = spec_text("{}", "{distillation.loss: {grid: [kl, none]}, distillation.target_class_weight: {grid: [1, 4]}}")
    assert message_of(text) == (
        "search.distillation.target_class_weight: has no effect with loss 'kl' or 'none'; possible: with 'dkd' "
        "(d.yaml, line 3)"
    )


def test_arms_with_and_without_teachers_are_different_trials():
    trials = planned_trials(parse_spec(spec_text("{}", "{distillation.loss: {grid: [kl, dkd, none]}}"), "d.yaml"))
    assert [trial.config.distillation.loss for trial in trials] == ["kl", "dkd", "none"]
    assert len({trial.config.trial_id for trial in trials}) == 3
    assert len({teacher.teacher_id for trial in trials for teacher in trial.config.teachers}) == 1


def test_new_fields_at_their_defaults_name_no_trial_anew():
    spec = parse_spec(spec_text("{ensemble_reducer: teachers, teacher_weights: null, temperature: 4.0}", "{}"), "d")
    assert planned_trials(spec)[0].config.trial_id == TrialConfig().trial_id


def test_weights_for_more_teachers_than_there_are_will_do():
    spec = parse_spec(spec_text("{teacher_weights: [3.0, 2.0, 1.0, 1.0]}"), "d.yaml")
    assert len(planned_trials(spec)) == 3


def test_a_trial_needs_a_weight_for_every_teacher():
    with pytest.raises(ValueError, match="teacher_weights has 1 weights for 2 teachers"):
        TrialConfig.model_validate({"teacher_strengths": (0.0, 0.0), "distillation": {"teacher_weights": (1.0,)}})


def test_affinity_is_an_objective_only_where_it_is_reported():
    objective = "objectives: [{metric: affinity, mode: max}]\n"
    message = message_of(f"name: d\n{objective}")
    assert (
        message == "objectives[0].metric: 'affinity' is not reported unless metrics.affinity is true (d.yaml, line 2)"
    )
    spec = parse_spec(f"name: d\n{objective}metrics: {{affinity: true}}\n", "d.yaml")
    assert planned_trials(spec)[0].config.metrics.affinity


def test_a_plan_counts_the_teacher_that_affinity_needs():
    text = "name: d\nsearch: {augmentation_strength: {grid: [%s]}}\nmetrics: {affinity: %s}\n"
    teachers = [
        plan(parse_spec(text % (strengths, asked), "d.yaml")).num_teachers
        for strengths, asked in (("0.5, 1.0", "false"), ("0.5, 1.0", "true"), ("0.0, 1.0", "true"))
    ]
    assert teachers == [2, 3, 2]

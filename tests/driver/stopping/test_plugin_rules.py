"""Stopping rules of plug-ins: selected by name with parameters of their own; where they fail, the study says so."""

import itertools
from pathlib import Path

import pytest

from kd_sweep import Study
from kd_sweep.driver.stopping.replay import Judge
from kd_sweep.driver.stopping.study_rule import rule_of
from kd_sweep.errors import SpecError, StoppingRuleError
from kd_sweep.study.file.frozen import check_extension
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.spec import StudySpec, judged_by

PLUGIN = """
import numpy
from pydantic import Field
import kd_sweep
from kd_sweep import stopping_rule

class Parameters(kd_sweep.OneMetricParameters):
    margin: float = Field(0.25, gt=0.0)

@stopping_rule("cautious", parameters=Parameters)
class Rule:
    def __init__(self, parameters, longest):
        self.margin, self.longest = parameters.margin, longest
    def stops(self, history, trial_id):
        at_epoch = history.at_epoch(history.last_epoch(trial_id))
        {body}

@stopping_rule("of_all")
def of_all(parameters, longest):
    {making}
"""
SOUND = "return at_epoch[trial_id][0] < max(at_epoch.values())[0] - self.margin"
NUMBERS = itertools.count()


def plugin(folder: Path, body: str = SOUND, making: str = "return None") -> str:
    """Write a plug-in and return its name."""
    name = f"rules_of_test_{next(NUMBERS)}"
    (folder / f"{name}.py").write_text(PLUGIN.format(body=body, making=making))
    return name


def study(folder: Path, name: str, scheduler: str) -> StudySpec:
    text = f"name: s\nplugins: [{name}]\nobjectives: [{{metric: val_accuracy}}, {{metric: ece}}]\n"
    return parse_spec(text + f"scheduler: {{name: '{name}:{scheduler}}}\n", "s.yaml", folder=folder)


def judge(spec: StudySpec) -> Judge:
    """Return the study's judge, told of a good trial and a bad one."""
    rule = rule_of(spec)
    assert rule is not None
    judging = Judge(rule, judged_by(spec))
    for trial, value in (("good", 0.9), ("bad", 0.4)):
        judging.add(trial, {"epoch": 1, "val_accuracy": value, "val_loss": 1 - value, "ece": 0.5})
    return judging


def test_a_rule_decides_with_its_parameters(tmp_path: Path) -> None:
    name = plugin(tmp_path)
    judging = judge(study(tmp_path, name, "cautious'"))
    assert (judging.stops("good"), judging.stops("bad")) == (False, True)
    assert not judge(study(tmp_path, name, "cautious', margin: 0.6")).stops("bad")
    assert judge(study(tmp_path, name, "cautious', metric: val_loss, mode: min, margin: 0.4")).stops("bad")


def test_a_decision_may_be_numpys(tmp_path: Path) -> None:
    name = plugin(tmp_path, "return numpy.float64(at_epoch[trial_id][0]) < 0.5")
    judging = judge(study(tmp_path, name, "cautious'"))
    assert (judging.stops("good"), judging.stops("bad")) == (False, True)
    assert judging.stops("bad") is True


def test_a_rule_judges_by_one_metric_or_by_all_objectives(tmp_path: Path) -> None:
    name = plugin(tmp_path)
    assert [one.metric for one in judged_by(study(tmp_path, name, "cautious'"))] == ["val_accuracy"]
    assert [one.metric for one in judged_by(study(tmp_path, name, "of_all'"))] == ["val_accuracy", "ece"]
    assert rule_of(study(tmp_path, name, "of_all'")) is None


def test_another_rule_of_a_plugin_drops_what_it_does_not_have(tmp_path: Path) -> None:
    name = plugin(tmp_path)
    text = "name: s\nscheduler: {name: asha, grace_period: 2, metric: val_accuracy}\n"
    named, rule = f"plugins=[{name}]", f"scheduler.name={name}:cautious"
    for overrides in ([named, rule], [rule, named]):
        scheduler = parse_spec(text, "s.yaml", overrides, tmp_path).scheduler
        assert (scheduler.name, scheduler.metric, hasattr(scheduler, "grace_period")) == (  # type: ignore[attr-defined]
            f"{name}:cautious",
            "val_accuracy",
            False,
        )
    with pytest.raises(SpecError, match=r"^scheduler\.grace_period: unknown key, possible: margin, metric, "):
        parse_spec(text, "s.yaml", [named, rule, "scheduler.grace_period=2"], tmp_path)
    study = Study(name="s", scheduler={"name": "asha", "grace_period": 2})
    assert study.set({"scheduler.name": f"{name}:cautious", "plugins": [name]}).spec.scheduler.name_source is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("scheduler", "message"),
    [
        ("cautious', margin: 0", "scheduler.margin: 0 is not above 0 (s.yaml, line 4)"),
        ("cautious', marign: 1", "scheduler.marign: unknown key, did you mean 'margin'? possible: margin, metric, "),
        ("of_all', metric: ece", "scheduler.metric: unknown key, possible: name (s.yaml, line 4)"),
        ("cautious', metric: f1", "scheduler.metric: no trial reports 'f1', possible: "),
        ("cautious', mode: min", "scheduler.mode: min is not max, the mode of 'val_accuracy' in objectives[0]: "),
        ("timid'", "scheduler.name: '{name}:timid' is not an option, did you mean '{name}:cautious'? possible: "),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, scheduler: str, message: str) -> None:
    name = plugin(tmp_path)
    with pytest.raises(SpecError) as caught:
        study(tmp_path, name, scheduler)
    assert str(caught.value).startswith(message.format(name=name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 1 / 0", "raised ZeroDivisionError: division by zero ({name}.py, line 16)"),
        ("return at_epoch", "returned a dict, not whether the trial stops"),
        ("return None", "returned a NoneType, not whether the trial stops"),
        ("return float('nan')", "returned a float, not whether the trial stops"),
    ],
)
def test_a_rule_that_fails_names_itself(tmp_path: Path, body: str, message: str) -> None:
    name = plugin(tmp_path, body)
    judging = judge(study(tmp_path, name, "cautious'"))
    with pytest.raises(StoppingRuleError) as caught:
        judging.stops("bad")
    assert str(caught.value) == f"scheduler.name: '{name}:cautious' " + message.format(name=name)


@pytest.mark.parametrize(
    ("making", "message"),
    [
        ("raise KeyError('x')", "raised KeyError: 'x' ({name}.py, line 20)"),
        ("return longest", "made a int, which has no method stops(history, trial_id)"),
    ],
)
def test_what_makes_no_rule_names_itself(tmp_path: Path, making: str, message: str) -> None:
    name = plugin(tmp_path, making=making)
    with pytest.raises(StoppingRuleError) as caught:
        rule_of(study(tmp_path, name, "of_all'"))
    assert str(caught.value) == f"scheduler.name: '{name}:of_all' " + message.format(name=name)


def test_an_edited_rule_takes_the_place_of_none_but_a_failed_one(tmp_path: Path) -> None:
    name = plugin(tmp_path)
    new = study(tmp_path, name, "cautious'")
    old = new.model_copy(update={"scheduler": new.scheduler.model_copy(update={"name_source": "1+older"})})
    check_extension(new, new)
    for failed in (None, "1+another"):
        with pytest.raises(SpecError, match=r"^scheduler\.name_source: .* differs from '1\+older'"):
            check_extension(old, new, failed)
    check_extension(old, new, "1+older")

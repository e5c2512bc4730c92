from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from kd_sweep import Study
from kd_sweep.study.file.frozen import frozen_yaml
from kd_sweep.study.file.json_schema import json_schema
from kd_sweep.study.file.load import load_spec

SWEEPS = sorted((Path(__file__).resolve().parents[3] / "sweeps").glob("*.yaml"))
VALIDATOR = Draft202012Validator(json_schema())


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.name)
def test_every_shipped_study_fits_the_schema_as_written_and_as_frozen(path):
    yaml = YAML(typ="safe", pure=True)
    VALIDATOR.validate(yaml.load(path.read_text()))
    VALIDATOR.validate(yaml.load(frozen_yaml(load_spec(path), {"torch": "2.14.0"})))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"name": "a b"},
        {"name": "d", "teachers": {}},
        {"name": "d", "teachers": [{"epochs": "eight"}]},
        {"name": "d", "teachers": [{"epoch": 8}]},
        {"name": "d", "teachers": ["resnet8"]},
        {"name": "d", "search": {"teachers.first.epochs": {"grid": [1]}}},
        {"name": "d", "data": {"name": "digit"}},
        {"name": "d", "teacher": {"epochs": "eight"}},
        {"name": "d", "search": {"name": {"grid": [1]}}},
        {"name": "d", "search": {"seed": {"grid": []}}},
        {"name": "d", "search": {"seed": {"grid": [1], "uniform": [0, 1]}}},
        {"name": "d", "search": {"seed": [0]}},
        {"name": "d", "search": {"seed": {"grid": [1], "when": "dkd"}}},
        {"name": "d", "search": {"seed": {"grid": [1], "when": {"ensemble_size": []}}}},
        {"name": "d", "sampler": {}},
        {"name": "d", "scheduler": {"name": "asha", "metric": "accuracy"}},
        {"name": "d", "scheduler": {"name": "hyperband", "metric": "accuracy"}},
        {"name": "d", "scheduler": {"name": "patience", "metric": "accuracy"}},
        {"name": "d", "scheduler": {"name": "pareto_asha", "metric": "val_accuracy"}},
        {"name": "d", "scheduler": {"name": "hyperband", "brackets": 0}},
        {"name": "d", "objectives": [{"metric": "accuracy"}]},
        {"name": "d", "resources": {"gpus": -1}},
    ],
)
def test_the_schema_refuses_mistakes(content):
    assert not VALIDATOR.is_valid(content)


def test_a_value_alone_is_a_dimension():
    VALIDATOR.validate({"name": "d", "search": {"seed": 0, "student.optimizer": "sgd"}})


def test_a_condition_is_a_value_or_a_list():
    when = {"distillation.loss": "dkd", "ensemble_size": [1, 2], "teacher_strengths": [[0.0, 1.0]]}
    VALIDATOR.validate({"name": "d", "search": {"student.width": {"grid": [8, 16], "when": when}}})
    assert not VALIDATOR.is_valid({"name": "d", "search": {"seed": {"grid": [1], "when": {"loss": "dkd"}}}})


def test_teachers_that_differ_fit_the_schema_as_written_and_as_frozen():
    content = {
        "name": "d",
        "teacher": {"epochs": 4},
        "teachers": [{}, {"model": "wrn-16-2", "learning_rate": 0.05}, {"model": "resnet14", "width": 8}],
        "search": {"teachers.2.width": {"grid": [8, 16]}, "seed": {"grid": [0, 1], "when": {"teachers.2.width": 8}}},
    }
    VALIDATOR.validate(content)
    frozen = YAML(typ="safe", pure=True).load(frozen_yaml(Study(**content).spec, {}))
    VALIDATOR.validate(frozen)
    assert frozen["teachers"] == content["teachers"]


def _described(schema):
    for name, definition in [("study", schema), *schema["$defs"].items()]:
        yield name, definition.get("description")


def test_every_section_says_what_it_is():
    assert [name for name, description in _described(json_schema()) if not description] == []


def test_a_field_says_what_it_is():
    properties = json_schema()["properties"]
    assert properties["search"]["description"].startswith("What varies: `augmentation_strength`, ")
    distillation = properties["distillation"]["properties"]  # an entry's parameter, and one of the section that has it
    assert distillation["temperature"]["description"] == "What logits are divided by before the softmax."
    assert distillation["alpha"]["description"].startswith("Weight of the cross-entropy with the hard label; ")

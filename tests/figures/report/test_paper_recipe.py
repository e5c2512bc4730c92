"""What a study does otherwise than the paper, against the paper's own study files in sweeps/."""

import pytest
import yaml

from kd_sweep.figures.report.paper_recipe import PAPER_RECIPES, beside_the_paper
from kd_sweep.study.file.load import load_spec, parse_spec
from tests.project.pages import ROOT

PATHS = ("path", "train_list", "val_list")


def without_paths(section: dict[str, object]) -> dict[str, object]:
    return {
        key: list(value) if isinstance(value, tuple) else value for key, value in section.items() if key not in PATHS
    }


def test_the_recipes_are_those_of_the_study_files() -> None:
    files = {path.stem: path for path in (ROOT / "sweeps").glob("*-paper.yaml")}
    assert set(files) == set(PAPER_RECIPES)
    for name, recipe in PAPER_RECIPES.items():
        content = yaml.safe_load(files[name].read_text())
        for section, fields in recipe.items():
            assert without_paths(fields) == without_paths(content[section]), f"{name}: {section}"


@pytest.mark.parametrize("name", PAPER_RECIPES)
def test_a_study_of_the_paper_differs_in_nothing(name: str) -> None:
    found = beside_the_paper(load_spec(ROOT / f"sweeps/{name}.yaml"))
    assert found.study == name
    assert found.table.rows == []
    assert "Teacher: weights pretrained" in found.agreed
    assert "Distillation: temperature 3" in found.agreed


def test_another_study_is_put_beside_the_one_on_cifar_100() -> None:
    found = beside_the_paper(load_spec(ROOT / "sweeps/digits.yaml"))
    rows = {label: (theirs, own) for label, theirs, own in found.table.rows}
    assert found.study == "cifar100-paper"
    assert "sweeps/cifar100-paper.yaml" in found.about
    assert rows["Images: name"] == ("cifar100", "digits")
    assert rows["Augmentation: pipeline"] == ("weak_strong", "strength")
    assert rows["Teacher: model"] == ("resnet50", "resnet8")
    assert rows["Student: milestones"][0] == "[189, 194]"
    assert rows["Distillation: alpha"] == ("0.6", "0.1")
    assert rows["Strengths of teachers"][1] == "0, 0.25 and 0.5, one for all of an ensemble"
    assert "Teachers in an ensemble" not in rows  # 1, 2 and 3 in both
    assert "Images: path" not in rows
    rates = "student.learning_rate: {uniform: [0.01, 1.0], log: true}"
    text = f"name: a\nsampler: {{name: random, num_trials: 4}}\nsearch: {{{rates}, seed: {{choice: [0, 1]}}}}"
    searched = parse_spec(text, "a test")
    rows = {label: (theirs, own) for label, theirs, own in beside_the_paper(searched).table.rows}
    assert rows["Student: learning rate"] == ("0.1", "searched: from 0.01 to 1, uniform in the logarithm")
    assert rows["Seeds"] == ("1", "0, 1")
    assert rows["Teachers in an ensemble"] == ("1, 2 and 3", "1")

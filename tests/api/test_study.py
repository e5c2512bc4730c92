"""A study as a Python value: the same keys, rules and results as of a study file."""

import enum
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kd_sweep import Study
from kd_sweep.errors import KdSweepError, SpecError, StorageError
from kd_sweep.study.file.frozen import freeze
from kd_sweep.study.file.load import load_spec, parse_spec
from tests.tiny_study import TINY

SWEEPS = sorted((Path(__file__).parents[2] / "sweeps").glob("*.yaml"))
CONTENT: dict[str, Any] = {
    "name": "tiny",
    "data": {"name": "digits", "image_size": 8, "max_train_images": 200, "max_val_images": 100},
    "teacher": {"model": "resnet8", "width": 4, "epochs": 2},
    "student": {"model": "resnet8", "width": 4, "epochs": 3},
    "search": {"augmentation_strength": {"grid": [0.0, 0.5]}, "ensemble_size": {"grid": [1, 2]}},
}


def mistake(make: Callable[[], Any], kind: type[KdSweepError] = SpecError) -> str:
    """Return the message of the mistake, which is one line."""
    with pytest.raises(kind) as error:
        make()
    message = str(error.value)
    assert len(message.splitlines()) == 1
    return message


def test_keys_and_values_mean_what_they_mean_in_a_file(tiny: Path) -> None:
    assert Study(**CONTENT).spec == load_spec(tiny)
    assert Study.from_file(tiny) == Study(**CONTENT)
    assert Study(**CONTENT) != Study(**CONTENT | {"name": "other"})


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_what_is_written_down_is_the_same_study(path: Path, tmp_path: Path) -> None:
    study = Study.from_file(path)
    study.save(tmp_path / "copy.yaml")
    assert load_spec(tmp_path / "copy.yaml") == load_spec(path)
    namespace: dict[str, Any] = {"Study": Study}
    assert eval(repr(study), namespace) == study


def test_numbers_of_numpy_paths_and_enumerations_are_plain_values(tmp_path: Path) -> None:
    class Model(enum.StrEnum):
        SMALL = "resnet8"

    study = Study(
        name="s",
        data={"name": "image_folder", "path": tmp_path, "image_size": np.int64(8)},
        teacher={"model": Model.SMALL, "epochs": torch.tensor(2)},
        search={"augmentation_strength": {"grid": np.linspace(0, 1, 3)}, "seed": {"grid": range(3)}},
        sampler={"name": "grid"},
    )
    assert "search: {augmentation_strength: {grid: [0.0, 0.5, 1.0]}, seed: {grid: [0, 1, 2]}}\n" in study.yaml()
    assert study.spec.data.path == str(tmp_path)
    assert parse_spec(study.yaml(), "s") == study.spec


def test_what_was_given_can_be_changed_afterwards_and_the_study_not() -> None:
    grid = [0, 1]
    study = Study(name="s", search={"seed": {"grid": grid}})
    grid.append(1)
    changed = study.set("search.seed", {"grid": grid[:1]})
    assert (study.yaml(), changed.yaml()) == (
        "name: s\nsearch: {seed: {grid: [0, 1]}}\n",
        "name: s\nsearch: {seed: {grid: [0]}}\n",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"name": "s", "teacher": {"epochs": 0}}, "teacher.epochs: 0 is not at least 1"),
        ({"name": "s", "teacher": {"epochs": "eight"}}, "teacher.epochs: 'eight' is not a whole number"),
        ({"name": "s", "retries": 101}, "retries: 101 is not at most 100"),
        ({}, "name: is missing"),
        ({"name": "s", "search": {"student.gamma": {"grid": [0.5]}}}, "search.student.gamma: "),
    ],
)
def test_a_mistake_is_the_one_of_the_file_without_its_line(content: dict[str, Any], message: str) -> None:
    said = mistake(lambda: Study(**content))
    assert said.startswith(message)
    in_file = mistake(lambda: parse_spec(json.dumps(content), "s.yaml"))
    assert in_file.startswith(said)
    assert "s.yaml" not in said


def endless() -> dict[str, Any]:
    inner: dict[str, Any] = {}
    inner["search"] = inner
    return inner


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"teacher": {"epochs": {1, 2}}}, "teacher.epochs: a set is nothing that a study file can hold; possible: "),
        ({"data": {1: 2}}, "data: 1 is not a key: keys are text"),
        ({"search": {"seed": {"grid": [1j]}}}, "search.seed.grid[0]: a complex is nothing that"),
        ({"search": endless()}, "search.search.search."),
    ],
)
def test_a_value_that_no_file_can_hold_is_named(content: dict[str, Any], message: str) -> None:
    assert mistake(lambda: Study(name="s", **content)).startswith(message)


def test_set_is_what_set_on_the_command_line_is(tiny: Path) -> None:
    study = Study.from_file(tiny)
    overrides = ["teacher.epochs=4", "search.seed.uniform=[0,1]", "sampler.name=random", "search.seed.int=[0,9]"]
    together = {"teacher.epochs": 4, "sampler.name": "random", "search.seed.int": [0, 9]}
    assert study.set(together) == Study.from_file(tiny, overrides)
    assert study.set("retries", 3) == study.set(retries=3) == study.set({}, retries=3)
    assert study.set() == study
    assert study.spec.retries == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("teacher.epoch", 3), "teacher.epoch: unknown key, did you mean 'epochs'? possible: "),
        (("teacher.epochs", "x"), "teacher.epochs: 'x' is not a whole number (set)"),
        (("name.first", "x"), "name.first: name is 'tiny', not a mapping (set)"),
        (("teacher..epochs", 3), "set: a part of the key 'teacher..epochs' is empty"),
        (("provenance", {}), "set: provenance is what a launch writes, and cannot be set"),
        (("teacher.epochs",), "set: needs a name and a value"),
        ((3, 4), "set: needs a name and a value"),
        (({"a": 1}, 4), "set: needs a name and a value"),
        (({1: 1},), "set: needs a name and a value"),
    ],
)
def test_a_wrong_change_is_one_line(change: tuple[Any, ...], message: str, tiny: Path) -> None:
    assert mistake(lambda: Study.from_file(tiny).set(*change)).startswith(message)


def test_a_mistake_in_a_file_names_its_line_also_after_a_change(tiny: Path) -> None:
    said = mistake(lambda: Study.from_file(tiny).set("search.teacher_strengths", {"grid": [[0, 1]]}))
    assert said.startswith("search.ensemble_size: ")
    assert said.endswith(f"({tiny}, line 8)")


def test_a_frozen_study_is_read_as_a_study(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(freeze(parse_spec(TINY, "s"), {"python": "3"}).text)
    study = Study.from_file(tmp_path / "study.yaml")
    assert study == Study(**CONTENT)
    assert "provenance" not in study.yaml()


def test_a_file_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    study = Study(**CONTENT)
    study.save(tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_text("mine")
    assert "is there already" in mistake(lambda: study.save(tmp_path / "s.yaml"), StorageError)
    assert (tmp_path / "s.yaml").read_text() == "mine"
    assert "No such file" in mistake(lambda: study.save(tmp_path / "none" / "s.yaml"), StorageError)


@pytest.mark.parametrize("root", [None, 3, "", "  "])
def test_what_is_no_root_is_refused(root: Any) -> None:
    assert "is not a path or a URI" in mistake(lambda: Study(**CONTENT).launch(root=root), StorageError)


def test_a_plan_lists_what_would_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plan = Study(**CONTENT).plan(tmp_path / "r")
    assert [trial.point for trial in plan.trials] == [
        {"augmentation_strength": strength, "ensemble_size": size} for strength in (0.0, 0.5) for size in (1, 2)
    ]
    assert (len(plan.teachers), plan.whole.teacher_epochs, plan.whole.student_epochs) == (4, 8, 12)
    assert plan.estimate is None
    assert repr(plan) == "<plan of study tiny: 4 trials, 4 teachers>"
    assert plan._repr_html_().startswith("<pre>study tiny: 4 trials")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert "slots: 0" in mistake(lambda: Study(**CONTENT).plan(slots=0))

"""The records of metrics agree with each other, with the names, and with the fields of a study."""

import ast
import math
import re

import pytest

from kd_sweep.figures.plots.figure_list import FIGURES
from kd_sweep.study.metric_catalogue import LIST_METRICS, METRICS, REPORTED_METRICS, differences
from kd_sweep.study.metric_record import DIFFERENCE_OF_SHARES, INFORMATION, SHARE
from kd_sweep.study.recipe import Metrics
from tests.project.architecture import PACKAGE

LOOKS_LIKE_A_METRIC = re.compile(
    r"(?:train|val|val_augmented|teacher|ensemble)_(?:accuracy|loss)|"
    r"(?:fidelity|predictive_kl|mutual_information|attention_iou|attention_overlap|attention_area|entropy|ece|"
    r"generalization_gap)(?:_[a-z0-9_]*[a-z0-9])?"
)
SPLIT = re.compile(r"_(train|val_augmented|val)(_shuffled|_rethinkkd)?$")


def test_names_are_unique_and_a_number_or_a_list() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert sorted([*REPORTED_METRICS, *LIST_METRICS]) == sorted(names)


def test_a_name_that_ends_in_a_split_is_of_that_split() -> None:
    named = {metric: found[1] for metric in METRICS if (found := SPLIT.search(metric.name))}
    assert len(named) > 20
    assert {metric.name: metric.splits for metric in named} == {metric.name: (of,) for metric, of in named.items()}


def test_what_has_to_be_asked_for_is_a_switch_of_the_study() -> None:
    asked = {metric.asked_by for metric in METRICS} - {None}
    assert asked == {name for name, field in Metrics.model_fields.items() if field.annotation is bool}


def test_a_difference_is_of_two_metrics_of_the_same_unit_and_of_their_images() -> None:
    for metric in METRICS:
        if metric.difference_of is not None:
            first, second = (REPORTED_METRICS[name] for name in metric.difference_of)
            assert metric.splits == first.splits + second.splits
            assert {metric.unit} == {first.unit, second.unit}
    values = {"train_accuracy": 0.75, "val_accuracy": 0.5, "val_augmented_accuracy": None}
    assert differences(values) == {"generalization_gap": 0.25}


def test_neither_way_is_better_of_what_only_chance_decides() -> None:
    assert {metric.better for metric in METRICS if metric.kind == "chance"} == {None}


@pytest.mark.parametrize(
    ("which", "inside", "outside"),
    [
        (SHARE, (0.0, 1.0, 1.0 + 1e-9, -1e-9), (-0.02, 1.02, 50.0)),
        (DIFFERENCE_OF_SHARES, (-1.0, 1.0), (-1.02, 1.02)),
        (INFORMATION, (0.0, math.log(10), -1e-12), (-0.02, math.log(10) + 0.02)),
    ],
)
def test_a_range_holds_its_ends_and_what_rounding_adds(which, inside, outside) -> None:
    assert all(which.holds(value, 10) for value in inside)
    assert not any(which.holds(value, 10) for value in outside)


def test_names_that_are_written_by_hand_are_in_the_list() -> None:
    """As in views, claims and figures, which show a few metrics of their choice."""
    names = {metric.name for metric in METRICS} | set(FIGURES)
    written = {
        (path.name, node.value)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and LOOKS_LIKE_A_METRIC.fullmatch(node.value)
    }
    assert len(written) > 40
    assert {(file, name) for file, name in written if name not in names} == set()

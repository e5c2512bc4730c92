"""The caveat of `cam`: shown wherever a study that asks for it is announced or its figures are."""

from pathlib import Path

import pytest

from kd_sweep.study.caveats import CAM, caveats
from kd_sweep.study.file.load import load_spec, parse_spec
from kd_sweep.study.recipe import Metrics
from tests.analysis.tables import trial, write_study
from tests.command_line import Cli

SWEEPS = Path(__file__).resolve().parents[2] / "sweeps"


def test_the_default_map_is_one_that_training_turns():
    assert Metrics().attention == "grad_cam"


@pytest.mark.parametrize("path", sorted(SWEEPS.glob("*.yaml")), ids=lambda path: path.stem)
def test_only_the_papers_own_sweeps_and_the_comparison_of_maps_have_cam(path):
    asks_for_cam = "-paper" in path.stem or path.stem == "cifar10-strength"
    assert load_spec(path).metrics.attention == ("cam" if asks_for_cam else "grad_cam")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: d", []),
        ("name: d\nmetrics: {attention: cam}", [CAM]),
        ("name: d\nsearch: {metrics.attention: {grid: [cam, grad_cam]}}", [CAM]),
        ("name: d\nmetrics: {attention: cam}\nsearch: {metrics.attention: grad_cam}", []),
    ],
)
def test_cam_has_a_caveat_whether_fixed_or_searched(text, expected):
    assert caveats(parse_spec(text, "d.yaml")) == expected


@pytest.mark.parametrize(("attention", "times"), [("cam", 1), ("grad_cam", 0)])
def test_plan_says_so(tmp_path: Path, cli: Cli, attention: str, times: int):
    study = tmp_path / "d.yaml"
    study.write_text(f"name: d\nmetrics: {{attention: {attention}}}\n")
    code, out, _ = cli("plan", study, "--root", tmp_path, "--no-probe")
    assert code == 0
    assert out.count(CAM) == times


def root_with(folder: Path, attention: str) -> Path:
    config = f'{{"metrics":{{"attention":"{attention}","cam_threshold":0.4}}}}'
    outcomes = {"val_accuracy": 0.5, "attention_iou_teachers": 0.4}
    rows = [trial(s, 2, seed, **outcomes) | {"config": config} for s in (0.0, 1.0) for seed in range(3)]
    write_study(folder, rows)
    return folder


@pytest.mark.parametrize(("attention", "times"), [("cam", 1), ("grad_cam", 0)])
@pytest.mark.parametrize(
    "command", [("query",), ("analyse",), ("query", "SELECT avg(attention_iou_teachers) FROM trials")]
)
def test_tables_with_attention_say_so(tmp_path: Path, cli: Cli, attention: str, times: int, command: tuple[str, ...]):
    root = root_with(tmp_path, attention)
    code, out, err = cli(command[0], root, *command[1:])
    assert code == 0
    assert err.count(CAM) == times
    assert CAM not in out


def test_tables_without_attention_say_nothing_of_maps(tmp_path: Path, cli: Cli):
    root = root_with(tmp_path, "cam")
    assert cli("query", root, "SELECT val_accuracy FROM trials")[2] == ""

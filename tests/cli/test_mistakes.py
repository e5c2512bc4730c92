"""Mistakes of users: every mistake is one line with its rule, value and location, and exit code 2."""

import json
import math
from pathlib import Path

import pytest
import typer
from PIL import Image

from kd_sweep.cli import app
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.study.file.load import parse_spec
from tests.command_line import Cli, assert_one_line


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("search.ensemble_size.grid=[0]", ["search.ensemble_size.grid[0]", "0", "at least 1"]),
        ("search.augmentation_strength.grid=[1.5]", ["search.augmentation_strength.grid[0]", "1.5", "1"]),
        ("search.augmentation_strength.grid=[]", ["search.augmentation_strength.grid", "empty"]),
        ("teacher.epoch=3", ["teacher.epoch", "did you mean 'epochs'"]),
        ("teacher.epochs=eight", ["teacher.epochs", "eight", "whole number"]),
        ("data.name=mnist", ["data.name", "mnist", "digits, image_folder"]),
        ("student.model=resnet9", ["student.model", "resnet9", "did you mean"]),
        ("student.model=nothing_like_it", ["student.model", "nothing_like_it", "possible:"]),
        ("scheduler.name=bohb", ["scheduler.name", "bohb", "asha"]),
        ("objectives=[{metric: val_acuracy, mode: max}]", ["objectives[0].metric", "did you mean 'val_accuracy'"]),
        ("scheduler={name: asha, metric: f1}", ["scheduler.metric", "f1", "possible:"]),
        ("sampler.name=anneal", ["sampler.name", "anneal", "tpe"]),
        ("nonsense", ["--set", "nonsense", "="]),
        ("teacher.weights=~no-such-user/weights.pt", ["teacher.weights", "~no-such-user", "cannot be a path"]),
        ("resources.cpus=4096", ["resources.cpus", "4096"]),
    ],
)
def test_wrong_fields(cli: Cli, tiny: Path, tmp_path: Path, override: str, parts: list[str]) -> None:
    before = files_below(tmp_path)
    assert_one_line(cli("launch", tiny, "--root", tmp_path / "results", "--set", override), *parts)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["empty"]),
        ("name: a\ndata: {name: digits\nstudent: [", ["line"]),
        ("- a\n- b\n", ["a list instead of keys"]),
        ("name: a\ncolour: red\n", ["colour", "line 2"]),
        ("name: a\nteacher:\n  epochs: 3\n  epochs: 4\n", ["epochs", "line 4"]),
    ],
)
def test_wrong_files(cli: Cli, tmp_path: Path, text: str, parts: list[str]) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    assert_one_line(cli("launch", path, "--root", tmp_path / "results"), "wrong.yaml", *parts)
    assert not (tmp_path / "results").exists()


def test_missing_file(cli: Cli, tiny: Path) -> None:
    assert_one_line(cli("launch", tiny.with_name("tinny.yaml")), "tinny.yaml", "tiny.yaml")


def image_folder(folder: Path, classes: tuple[str, ...], images: int) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(images):
            Image.new("RGB", (12, 12), (20 * number, 90, 30)).save(folder / name / f"{number}.png")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize(
    ("classes", "images", "part"),
    [((), 0, "no class folders"), (("cat",), 3, "one class"), (("cat", "dog"), 0, "image")],
)
def test_useless_image_folders(
    cli: Cli, tiny: Path, tmp_path: Path, classes: tuple[str, ...], images: int, part: str
) -> None:
    folder = image_folder(tmp_path / "images", classes, images)
    data = f"data={{name: image_folder, path: {folder}, image_size: 8}}"
    result = cli("launch", tiny, "--root", tmp_path / "r", "--set", data)
    assert_one_line(result, "data.path", str(folder))
    assert not (tmp_path / "r").exists()


def test_missing_image_folder(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    data = "data={name: image_folder, path: /no/such/place, image_size: 8}"
    result = cli("launch", tiny, "--root", tmp_path / "r", "--set", data)
    assert_one_line(result, "data.path", "/no/such/place")


def test_root_that_cannot_be_written(cli: Cli, tiny: Path) -> None:
    assert_one_line(cli("launch", tiny, "--root", tiny / "results"), str(tiny))
    assert_one_line(cli("launch", tiny, "--root", "/proc/results"), "/proc/results")


def test_resume_of_what_is_no_study(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "something").mkdir()
    assert_one_line(cli("resume", tmp_path / "something"), "something", "study.yaml")
    assert_one_line(cli("resume", tmp_path / "nothing"), "nothing")


def test_launch_into_a_folder_of_something_else(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "r" / "tiny").mkdir(parents=True)
    (tmp_path / "r" / "tiny" / "thesis.tex").write_text("…")
    assert_one_line(cli("launch", tiny, "--root", tmp_path / "r"), "thesis.tex", "not a study")


def test_queries_of_nothing(cli: Cli, tmp_path: Path) -> None:
    for command in ("query", "status"):
        assert_one_line(cli(command, tmp_path / "missing"), "missing")
        assert_one_line(cli(command, tmp_path), str(tmp_path))


@pytest.mark.parametrize("command", ["status", "query", "analyse", "verify", "gc"])
def test_a_wrong_format_is_told_before_the_work(cli: Cli, tmp_path: Path, command: str) -> None:
    possible = ["lines"] if command in ("verify", "gc") else []
    assert_one_line(
        cli(command, tmp_path / "nowhere", "--format", "cvs"), "--format: 'cvs'", "'csv'", "parquet", *possible
    )


# --- what no argument can be ------------------------------------------------------------------------------------------


def command_lines() -> list[tuple[str, list[str]]]:
    """Return, for every argument and option that takes text, its name and a command line in which it is ``%``."""
    found = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        required = [parameter for parameter in command.params if parameter.required]
        for parameter in command.params:
            if getattr(parameter, "is_flag", False) or parameter.name == "help":
                continue
            is_option = parameter.param_type_name == "option"
            label = max(parameter.opts, key=len) if is_option else parameter.metavar or parameter.name
            line = [name]
            for other in command.params:
                value = "%" if other is parameter else "x"
                is_here = other is parameter or other in required
                before = other.param_type_name == "argument" and command.params.index(other) < command.params.index(
                    parameter
                )
                if is_here or (before and not is_option):
                    line += [max(other.opts, key=len), value] if other.param_type_name == "option" else [value]
            found.append((label, line))
    return found


@pytest.mark.parametrize(
    ("label", "line"), command_lines(), ids=lambda value: value if isinstance(value, str) else value[0]
)
def test_an_empty_value_is_refused_everywhere(cli: Cli, label: str, line: list[str]) -> None:
    for empty in ("", "  "):
        assert_one_line(cli(*(empty if word == "%" else word for word in line)), f"{label}: is empty")


@pytest.mark.parametrize(
    ("value", "part"), [("r\udce9sultats", r"'r\xe9sultats' is not UTF-8 text"), ("~no-such-user/x", "home folder")]
)
def test_a_root_that_is_none_is_one_line(cli: Cli, tiny: Path, value: str, part: str) -> None:
    for command in (["status"], ["query"], ["verify"], ["gc"], ["resume"], ["plan", str(tiny), "--root"]):
        assert_one_line(cli(*command, value), part)


@pytest.mark.parametrize(
    "line",
    [
        ["query"],
        ["query", "x", "--frmat", "csv"],
        ["query", "x", "SELECT 1", "more"],
        ["nonsense"],
        ["plan", "x", "--slots", "many"],
        ["query", "x", "--timeout", "0"],
        ["query", "x", "--timeout", "soon"],
        ["query", "x", "--memory-limit", "lots"],
        ["query", "x", "--memory-limit", "1"],
    ],
)
def test_wrong_usage_is_one_line(cli: Cli, line: list[str]) -> None:
    code, out, err = cli(*line)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("kd-sweep")


@pytest.mark.parametrize("change", [{"pid": "7"}, {"renewed_at": math.nan}, {"acquired_at": 1e308}, {"host": None}])
def test_a_lease_that_makes_no_sense_is_nobodys_in_every_command(cli: Cli, tmp_path: Path, change: dict[str, object]):
    folder = StudyFolder(tmp_path, "digits")
    with StudyState(parse_spec("name: digits", "digits.yaml"), folder):
        (file,) = (tmp_path / "digits").glob("driver-lease-*.json")
        content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"released": False} | change))
    for command in (["status"], ["query", "SELECT status FROM studies"], ["verify"], ["gc"]):
        code, out, err = cli(command[0], tmp_path, *command[1:])
        assert code == 0, err
        assert "Traceback" not in err
        if command == ["verify"]:
            assert f"{file}: is damaged, so nobody holds it" in out
    with folder.lock() as lease:
        assert lease.term == 2

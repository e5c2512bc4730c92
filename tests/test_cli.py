"""The command line as a user meets it: every mistake is one line with its rule, value and place, and exit code 2."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import COMMAND, IMPORT_TIMES, environment, split_imports

Cli = Callable[..., tuple[int, str, str]]


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def assert_one_line(result: tuple[int, str, str], *parts: str) -> None:
    code, out, err = result
    assert code == 2, (out, err)
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("kd-sweep: ")
    for part in parts:
        assert part in err, err


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
        ("scheduler.name=hyperband", ["scheduler.name", "hyperband", "asha"]),
        ("objectives=[{metric: val_acuracy, mode: max}]", ["objectives[0].metric", "did you mean 'val_accuracy'"]),
        ("scheduler={name: asha, metric: f1}", ["scheduler.metric", "f1", "possible:"]),
        ("sampler.name=cmaes", ["sampler.name", "cmaes", "tpe"]),
        ("nonsense", ["--set", "nonsense", "="]),
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


def test_help_names_arguments_as_the_readme_does(cli: Cli) -> None:
    assert "query [OPTIONS] {ROOT} [SQL]\n" in cli("query", "--help")[1]
    assert "attention [OPTIONS] {ROOT} {TRIAL}...\n" in cli("attention", "--help")[1]


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    command = f"{sys.executable} -m kd_sweep schema | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_help_loads_nothing_that_takes_seconds() -> None:
    timed = environment() | dict([IMPORT_TIMES])
    done = subprocess.run([*COMMAND, "--help"], check=True, capture_output=True, text=True, env=timed)
    imported, _ = split_imports(done.stderr)
    assert "typer" in imported
    assert not {"torch", "torchvision", "ray", "optuna", "pyarrow", "duckdb", "numpy", "pydantic"} & imported


def test_version_and_schema(cli: Cli) -> None:
    assert cli("--version")[1].strip() == "0.1.0"
    code, out, _ = cli("schema")
    assert code == 0
    assert '"augmentation_strength"' in out

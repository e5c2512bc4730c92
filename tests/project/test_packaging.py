"""What `pyproject.toml` says of the package is true."""

import ast
import re
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WITH_ANOTHER = {"pydantic-core": "pydantic"}
"""Distributions that come with another one in exactly one version."""


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=,; ]", requirement)[0].lower() for requirement in requirements}


@cache
def distributions() -> Mapping[str, list[str]]:
    """Return the distributions that bring each module; finding them takes seconds."""
    return metadata.packages_distributions()


def imported(folder: Path) -> set[str]:
    """Return the distributions that the folder's modules import, wherever in them."""
    modules = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules.add(str(node.module).split(".")[0])
    of_module = distributions()
    ours = {
        "kd_sweep",
        "tests",
        "benchmarks",
        *(path.stem for path in folder.glob("*.py")),
    }  # programs import those beside them
    found = {of_module[name][0].lower().replace("_", "-") for name in modules - ours - set(sys.stdlib_module_names)}
    return {WITH_ANOTHER.get(name, name) for name in found}


def test_what_is_imported_is_declared() -> None:
    extras = PROJECT["optional-dependencies"]
    needed = imported(ROOT / "kd_sweep")
    # Each of these extras is asked for where it is needed; `Results.pandas` is for those who have pandas.
    with_extras = ("timm", "samplers", "service", "mlflow", "wandb", "onnx", "tensorboard", "figures")
    optional = names([one for extra in with_extras for one in extras[extra]]) | {"pandas"}
    assert needed - names(PROJECT["dependencies"]) <= optional
    everything = names(PROJECT["dependencies"]) | set().union(*map(names, extras.values()))
    assert imported(ROOT / "tests") | imported(ROOT / "benchmarks") <= everything


def test_images_and_nodes_get_the_tested_ray() -> None:
    """The recipes install one version everywhere; it is the lowest that the package takes."""
    lowest = next(part for part in PROJECT["dependencies"] if part.startswith("ray")).split(">=")[1].split(",")[0]
    for name in ("kubernetes/Dockerfile", "aws/cluster.yaml"):
        (pinned,) = set(re.findall(r"ray\[[\w,]+\]==([\d.]+)", (ROOT / "cluster" / name).read_text()))
        assert pinned.startswith(f"{lowest}.")


def test_an_image_holds_what_its_recipes_run() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", ".venv", "results"} <= set(ignored)
    for needed in ("kd_sweep", "cluster", "pyproject.toml", "README.md", "LICENSE"):
        assert needed not in ignored
        assert (ROOT / needed).exists()

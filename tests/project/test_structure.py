"""Sizes of files, functions and folders, names of files, and the private names of other libraries."""

import ast
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.project.architecture import PACKAGE, ROOT, module_file, modules

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_FOLDER_FILES = 16

SAME_NAME = {
    "trial": "study/ has what a trial is, distill/ runs one",
    "none": "a loss and a stopping rule are called so",
}
"""File names that several modules share, with the reason."""

PRIVATE_NAMES_ALLOWED = {
    "kd_sweep/driver/ray/private.py",
}
"""The files that may use private names of other libraries."""

DOCUMENTED = {"_replace", "_fields", "_asdict", "_exit"}
"""Public names of the standard library, whatever they begin with: of named tuples, and `os._exit`."""


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def functions(file: Path) -> list[tuple[str, int]]:
    """Every function and method of the file with its number of lines."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    found = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, kinds))
    return [(node.name, (node.end_lineno or 0) - node.lineno + 1) for node in found]


@pytest.mark.parametrize("folder", ["kd_sweep", "tests", "benchmarks"])
def test_no_file_and_no_function_is_too_long(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    long = {name_of(file) for file in files if len(file.read_text().splitlines()) > MAX_FILE_LINES}
    for file in files:
        long |= {f"{name_of(file)}: {name}" for name, lines in functions(file) if lines > MAX_FUNCTION_LINES}
    assert long == set()


def test_no_folder_has_too_many_files() -> None:
    files = [*modules(), *(ROOT / "tests").glob("*/**/*.py")]
    counts = Counter(file.parent for file in files if file.name not in ("__init__.py", "conftest.py"))
    assert {name_of(folder): count for folder, count in counts.items() if count > MAX_FOLDER_FILES} == {}


def test_a_file_name_means_one_thing() -> None:
    files = defaultdict(list)
    for file in modules():
        files[file.stem].append(name_of(file))
    shared = {stem: names for stem, names in files.items() if len(names) > 1 and not stem.startswith("__")}
    assert set(shared) == set(SAME_NAME), shared


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name not in DOCUMENTED


def foreign_private_names(source: str) -> list[str]:
    """The private names that the source uses and does not define itself, whoever's they are, each with its line.

    By import, as an attribute of whatever object, by name in `getattr` and its like, and inherited ones by `self`.
    """
    nodes = list(ast.walk(ast.parse(source)))
    stored = {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
    stored |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    stored |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    used: list[tuple[int, str]] = []
    for node in nodes:
        if isinstance(node, ast.Attribute):
            used.append((node.lineno, node.attr))
        elif isinstance(node, ast.Import):
            used += [(node.lineno, part) for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.ImportFrom):
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            used += [(node.lineno, part) for part in parts]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("attr", "attrgetter")):
            texts = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            used += [(node.lineno, part) for text in texts for part in text.split(".")]
    return [f"{line}: {name}" for line, name in sorted(set(used)) if is_private(name) and name not in stored]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import ray._private.worker", ["1: _private"]),
        ("from ray import _raylet", ["1: _raylet"]),
        ("from ray._private import services", ["1: _private"]),
        ("import ray\nray._raylet.GcsClient()", ["2: _raylet"]),
        ("def f(trial):\n    return trial._status", ["2: _status"]),
        ("def f(trial):\n    return getattr(trial, '_status', None)", ["2: _status"]),
        ("class Searcher(Base):\n    def f(self):\n        return self._metric", ["3: _metric"]),
        ("class Own:\n    def __init__(self):\n        self._a = self._b()\n    def _b(self):\n        return 1", []),
        ("import os\nos._exit(1)\nfrom kd_sweep import __version__", []),
    ],
)
def test_private_names_are_seen(source: str, expected: list[str]) -> None:
    assert foreign_private_names(source) == expected


def test_private_names_of_other_libraries_are_used_in_one_file_alone() -> None:
    users = {name_of(file) for file in PACKAGE.rglob("*.py") if foreign_private_names(file.read_text())}
    assert users == PRIVATE_NAMES_ALLOWED


def named_modules(text: str) -> set[tuple[str, ...]]:
    """The dotted names of kd_sweep's in a text, also in programs that tests run and in comments."""
    names = {tuple(match.split(".")) for match in re.findall(r"\bkd_sweep(?:\.(?!__)\w+)+", text)}
    for module, imported in re.findall(r"\bfrom (kd_sweep(?:\.\w+)*) import \(?((?:\w+(?:, )?)+)", text):
        names |= {(*module.split("."), name) for name in imported.split(", ") if name}
    return names


def is_there(name: tuple[str, ...]) -> bool:
    """Whether the name leads to a module, or to something that the text of a module has a word for."""
    file = ROOT / "kd_sweep/__init__.py"
    for length in range(2, len(name) + 1):
        inner = module_file(".".join(name[:length]))
        if inner is None:
            return re.search(rf"\b{name[length - 1]}\b", file.read_text()) is not None
        file = inner
    return True


def test_modules_that_texts_name_are_there() -> None:
    """Imports are checked where they run; those in text, as a program that a test starts, go wrong in silence."""
    folders = ("kd_sweep", "tests", "benchmarks", "docs", "cluster")
    files = [file for folder in folders for kind in ("*.py", "*.md", "*.sh") for file in (ROOT / folder).rglob(kind)]
    missing = {
        (name_of(file), ".".join(name))
        for file in files
        for name in named_modules(file.read_text())
        if not is_there(name)
    }
    assert {(file, name) for file, name in missing if not name.startswith("kd_sweep.testing")} == set()
    assert not is_there(("kd_sweep", "testing", "x"))
    assert not is_there(("kd_sweep", "storage", "files"))

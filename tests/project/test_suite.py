"""The rules of this suite: where a test may take its helpers from, and that no process outlives a run."""

import ast
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.left_processes import RUN, end_what_is_left, left_processes
from tests.longest_first import LONGEST, rank
from tests.project.package_coverage import table

TESTS = Path(__file__).resolve().parents[1]
FILES = sorted(TESTS.rglob("*.py"))


def imported_tests(source: str) -> list[str]:
    """Return the modules `tests.…` that a file imports, where it imports one whole or from it."""
    modules = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules += [node.module or "."] + [f"{node.module}.{alias.name}" for alias in node.names]
    return [module for module in modules if module.split(".")[0] in ("tests", "conftest", "")]


def is_wrong(module: str) -> bool:
    return any(part == "conftest" or part.startswith("test_") for part in module.split("."))


def test_helpers_lie_in_modules_of_their_own() -> None:
    """A fixture of a conftest comes by its name; a function that two files call has a module named for what it does."""
    imports = {path.relative_to(TESTS).as_posix(): imported_tests(path.read_text()) for path in FILES}
    wrong = {name: modules for name, modules in imports.items() if any(map(is_wrong, modules))}
    assert not wrong


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("from tests.conftest import COMMAND", True),
        ("from tests.distill.conftest import run", True),
        ("from tests.distill import conftest", True),
        ("import tests.distill.conftest", True),
        ("from conftest import run", True),
        ("from tests.analysis.test_effects import planted", True),
        ("from tests.analysis.tables import trial", False),
        ("from kd_sweep.testing.test_x import y", False),
    ],
)
def test_a_wrong_import_is_seen(line: str, wrong: bool) -> None:
    assert any(map(is_wrong, imported_tests(line))) == wrong


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")
def test_a_process_that_is_left_is_ended_and_no_other() -> None:
    def start(name: str, run: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(["bash", "-c", f"exec -a {name} sleep 60"], env=os.environ | {RUN: run})

    ours, anothers, harmless = start("ray::IDLE", "a"), start("ray::IDLE", "b"), start("sleeper", "a")
    try:
        while not (left_processes("a") and left_processes("b")):
            assert ours.poll() is None
        assert end_what_is_left("a", patience_s=0.0) == ["ray::IDLE 60"]
        assert ours.wait(10) == -signal.SIGKILL
        assert (anothers.poll(), harmless.poll()) == (None, None)
        assert end_what_is_left("a", patience_s=0.0) == []
    finally:
        for process in (ours, anothers, harmless):
            process.kill()
            process.wait()


def test_the_files_that_come_first_are_there() -> None:
    assert [name for name in LONGEST if not (TESTS / name).exists()] == []
    names = [*LONGEST[:2], "metrics/test_calibration.py", "driver/test_budget.py"]
    assert all((TESTS / name).exists() for name in names)
    ranks = [rank(TESTS / name, has_sweeps=name != "metrics/test_calibration.py") for name in names]
    assert ranks[0] < ranks[1] < ranks[3] < ranks[2]


def test_coverage_is_added_up_by_package() -> None:
    files = {
        "study/trial.py": (10, 5),
        "study/file/load.py": (30, 30),
        "errors.py": (8, 8),
        "study/__init__.py": (0, 0),
    }
    rows = [line.split() for line in table(files)]
    assert rows == [
        ["package", "files", "statements", "run"],
        ["errors", "1", "8", "100.0%"],
        ["study", "3", "40", "87.5%"],
        ["kd_sweep", "4", "48", "89.6%"],
    ]

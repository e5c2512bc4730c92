"""The rules of this suite: where a test may take its helpers from, and that no process outlives a run."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kd_sweep.driver.ray import private
from tests.command_line import environment
from tests.left_processes import RUN, end_what_is_left, left_processes
from tests.longest_first import LONGEST, rank
from tests.polling import until
from tests.project.package_coverage import table
from tests.warm_python import LOADED, WarmProcess, run_warm, worker_start

TESTS = Path(__file__).resolve().parents[1]
FILES = sorted(TESTS.rglob("*.py"))
THIS = Path(__file__).name


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
    names = [*LONGEST[:2], "metrics/test_calibration.py", "driver/budgets/test_hour_budget.py"]
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


def test_the_process_that_others_are_forked_from_has_loaded_what_they_need(tmp_path: Path) -> None:
    """Python has one list of it for all modules: one that sets its own would have each process load the rest anew."""
    program = "import sys\nprint(*sys.modules)"
    loaded = run_warm(program, tmp_path, environment()).stdout.split()
    assert set(LOADED) <= set(loaded)
    assert {"torch", "ray.tune", "optuna"} <= set(loaded)
    assert {path.name for path in FILES if "set_forkserver_preload" in path.read_text()} == {"warm_python.py", THIS}


ABOUT_ITSELF = """
import json, os, signal, sys, threading
handled = {int(number): str(signal.getsignal(number)) for number in signal.valid_signals()}
blocked = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))
leads = os.getpid() == os.getsid(0) == os.getpgid(0)
own = [os.getcwd(), os.umask(0o22), os.nice(0), sorted(os.sched_getaffinity(0)), sys.stdin.read(), dict(os.environ)]
streams = [[s.encoding, s.errors, s.line_buffering, s.write_through, s.seekable()] for s in (sys.stdout, sys.stderr)]
print(json.dumps([handled, blocked, leads, own, threading.active_count(), streams]), flush=True)
print("told", file=sys.stderr, flush=True)
os.kill(os.getpid(), signal.SIGTERM) if {killed} else sys.exit(3)
"""


@pytest.mark.parametrize("killed", [True, False])
def test_a_forked_process_is_to_its_test_as_one_that_was_started(killed: bool) -> None:
    program, variables = ABOUT_ITSELF.replace("{killed}", str(killed)), environment()
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    started = subprocess.Popen(
        [sys.executable, "-c", program], env=variables, text=True, start_new_session=True, **given
    )
    forked = WarmProcess(program, variables)
    assert forked.communicate(30) == started.communicate(30)
    assert forked.returncode == started.returncode == (-signal.SIGTERM if killed else 3)


def test_a_forked_process_is_waited_for_and_killed(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("before\n")
    process = WarmProcess("import time\nprint('begun', flush=True)\ntime.sleep(60)", os.environ, log)
    until(lambda: "begun" in log.read_text())
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.kill()
    assert process.wait(10) == process.poll() == -signal.SIGKILL
    process.send_signal(signal.SIGKILL)  # nobody's pid any more
    assert log.read_text() == "before\nbegun\n"


ABOUT_A_WORKER = """
import gc, json, os, sys
name = sys.modules["__main__"].__file__
leads = os.getpid() == os.getpgid(0)
own = [os.getcwd(), sorted(os.sched_getaffinity(0)), sys.stdin.read(), dict(os.environ), sys.path]
print(json.dumps([__name__, name, sys.argv, leads, own, gc.isenabled(), "ray" in sys.modules]))
print("told", file=sys.stderr, flush=True)
sys.exit(3)
"""


def test_a_forked_worker_is_to_ray_as_one_that_was_started(tmp_path: Path) -> None:
    program, variables = (
        tmp_path / "worker.py",
        environment() | {"PYTHONPATH": f"{tmp_path}:{TESTS.parent}", "KIND": "é\n"},
    )
    program.write_text(ABOUT_A_WORKER)
    started, forked = (
        subprocess.run(
            [sys.executable, start, program, "--node-id=1", "--language=PYTHON"],
            capture_output=True, text=True, cwd=tmp_path, env=variables, process_group=0, stdin=subprocess.DEVNULL,
        )
        for start in (private.WORKER_START, worker_start())
    )  # fmt: skip
    assert forked.stdout == started.stdout != ""
    assert forked.stderr == started.stderr == "told\n"

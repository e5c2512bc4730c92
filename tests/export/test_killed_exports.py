"""Exports that are killed: done again, they are what they would have been without."""

import contextlib
import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kd_sweep.export.export_paths import MARK
from kd_sweep.export.targets import TARGETS
from kd_sweep.storage.root import Root
from kd_sweep.tables.writer import StudyWriter
from tests.command_line import Cli, environment
from tests.export.wandb_runs import told
from tests.export.written_study import STUDY, add_trials, write_study
from tests.trained_studies import train_study
from tests.warm_python import WarmProcess, command_program

TRIALS = dict.fromkeys(range(40), ("completed", 10))
NETWORK = """
name: written
data: {name: digits, image_size: 8, max_train_images: 40, max_val_images: 40}
teacher: {model: resnet8, width: 4, epochs: 1}
student: {model: resnet8, width: 4, epochs: 1}
search:
  seed: {grid: [0]}
"""
PATIENCE_S = 120.0
QUICK = ("optuna", "onnx", "hf")
"""What is made in memory and there in a moment: a kill is mostly before it or after it."""
ALIKE = "onnx"
"""A file that is put in its place whole, as that of optuna; making it is most of the test."""
OF_THEIR_TIME = {"experiments", "experiment_tags"}
"""Tables of MLflow's with the time at which an export was made."""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of a study with enough trials that its exports take a while. Read it only."""
    root = tmp_path_factory.mktemp("many")
    write_study(root, TRIALS)
    return root


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of a study with fewer, for what takes a second to write a trial. Read it only."""
    root = tmp_path_factory.mktemp("several")
    write_study(root, dict(list(TRIALS.items())[:3]))
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root of a study with a network. Read it only."""
    root = tmp_path_factory.mktemp("trained")
    train_study(root, NETWORK)
    return root


def content(path: Path) -> Any:
    """Return what an export is, whenever it was made: its files; of a database its rows, of a run what it tells."""
    below = [path] if path.is_file() else sorted(one for one in path.rglob("*") if one.is_file())
    return {
        str(one.relative_to(path)): told(one.parent) if one.suffix == ".wandb" else rows(one) or one.read_bytes()
        for one in below
    }


def rows(path: Path) -> dict[str, list[str]]:
    """Return the rows of a database, by table; none of another file."""
    if not path.read_bytes().startswith(b"SQLite format 3"):
        return {}
    with contextlib.closing(sqlite3.connect(path)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kept = sorted(name for name in names if name not in OF_THEIR_TIME)
        return {name: sorted(map(repr, database.execute(f'SELECT * FROM "{name}"'))) for name in kept}


@contextlib.contextmanager
def exporting(root: Path, to: str, out: Path, *more: str) -> Iterator[WarmProcess]:
    of_network = ["--trial", "best"] if TARGETS[to].of_network else []
    program = command_program("export", str(root), STUDY, "--to", to, "--out", str(out), *of_network, *more)
    process = WarmProcess(program, environment(), Path(os.devnull))
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def has_begun(out: Path) -> bool:
    """Whether something is there, under its own or a temporary name, and more of a folder than its mark."""
    if out.is_dir():
        return len(list(out.iterdir())) > 2
    names = [other.name for other in out.parent.iterdir()]
    return any(name.startswith((out.name, f".{out.name}.")) for name in names)


def kill_when(root: Path, to: str, out: Path, holds: Callable[[], bool], *more: str) -> int | None:
    """Kill an export when something holds; return its exit code: it may have been quicker."""
    with exporting(root, to, out, *more) as process:
        until = time.monotonic() + PATIENCE_S
        while process.poll() is None and not holds():
            assert time.monotonic() < until
            time.sleep(0.0005)
    return process.returncode


@pytest.mark.slow
@pytest.mark.parametrize("to", [pytest.param(to, marks=pytest.mark.long if to == ALIKE else ()) for to in TARGETS])
def test_a_killed_export_is_finished_by_a_second_one(
    cli: Cli, to: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for module in TARGETS[to].modules:
        pytest.importorskip(module, reason=f"the extra {to}")
    needs = "trained" if TARGETS[to].of_network else "several" if to == "wandb" else "many"
    root: Path = request.getfixturevalue(needs)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    of_network = ("--trial", "best") if TARGETS[to].of_network else ()
    asked = ("export", str(root), STUDY, "--to", to, *of_network, "--out")
    assert cli(*asked, str(whole))[0] == 0
    codes = [kill_when(root, to, killed, lambda: has_begun(killed)) for _ in range(1 if to in QUICK else 2)]
    assert codes[0] == -signal.SIGKILL or to in QUICK
    assert cli(*asked, str(killed))[0] == 0
    assert content(killed) == content(whole)
    assert {one.name for one in tmp_path.iterdir()} == {"whole", "killed"}
    code, _, error = cli(*asked, str(killed))
    assert (code, "has it all" in error) == (0, True), error


@pytest.mark.slow
@pytest.mark.parametrize("to", [to for to, target in TARGETS.items() if not target.of_network])
def test_an_export_of_another_process_is_no_other_one(cli: Cli, to: str, several: Path, tmp_path: Path) -> None:
    for module in TARGETS[to].modules:
        pytest.importorskip(module, reason=f"the extra {to}")
    out = tmp_path / "out"
    with exporting(several, to, out) as process:
        assert process.wait(PATIENCE_S) == 0
    code, _, error = cli("export", str(several), STUDY, "--to", to, "--out", str(out))
    assert (code, "has it all" in error) == (0, True), error


@pytest.mark.slow
@pytest.mark.usefixtures("mlflow_tables")
def test_a_store_that_grows_is_killed_between_two_transactions_and_keeps_the_first(cli: Cli, tmp_path: Path) -> None:
    first, out = dict(list(TRIALS.items())[:3]), tmp_path / "out"
    root = tmp_path / "root"
    write_study(root, first)
    asked = ("export", str(root), STUDY, "--to", "mlflow", "--out", str(out))
    assert cli(*asked)[0] == 0
    with StudyWriter(Root.open(root), STUDY) as writer:
        add_trials(writer, {number: one for number, one in TRIALS.items() if number not in first})

    def num_runs() -> int:
        with contextlib.closing(sqlite3.connect(out)) as database:
            return int(database.execute("SELECT count(*) FROM runs").fetchone()[0])

    assert kill_when(root, "mlflow", out, lambda: num_runs() > len(first)) == -signal.SIGKILL
    assert len(first) < num_runs() < len(TRIALS)
    assert cli(*asked)[0] == 0
    assert cli(*asked[:-1], str(tmp_path / "whole"))[0] == 0
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("to", ["tensorboard", "mlflow"])
def test_histories_that_were_growing_when_it_was_killed_are_there_after_a_second_one(
    cli: Cli, to: str, many: Path, tmp_path: Path
) -> None:
    """The second one does not say again which."""
    pytest.importorskip(TARGETS[to].modules[0], reason=f"the extra {to}")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    asked = ("export", str(many), STUDY, "--to", to, "--out")
    assert cli(*asked, str(whole), "--metrics", "all")[0] == 0
    assert cli(*asked, str(killed))[0] == 0

    def is_growing() -> bool:
        if killed.is_dir():
            return bool(json.loads((killed / MARK).read_bytes())["histories"] == "all")
        with contextlib.closing(sqlite3.connect(killed)) as database:
            query = "SELECT count(*) FROM experiment_tags WHERE key = 'kd_sweep_histories' AND value = 'all'"
            return bool(database.execute(query).fetchone()[0])

    assert kill_when(many, to, killed, is_growing, "--metrics", "all") == -signal.SIGKILL
    assert content(killed) != content(whole)
    assert cli(*asked, str(killed))[0] == 0
    assert content(killed) == content(whole)

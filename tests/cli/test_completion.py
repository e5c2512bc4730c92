"""Completion in shells, by the protocol in which their scripts ask for it, and by a real bash."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kd_sweep.tables.reader import open_results
from tests.command_line import COMMAND, IMPORT_TIMES, environment, split_imports
from tests.tables.rows import write_study

Complete = Callable[..., list[str]]


def ask(folder: Path, words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Ask as bash does, with the cursor behind the last word."""
    asked = {"_KD_SWEEP_COMPLETE": "complete_bash", "COMP_WORDS": f"kd-sweep {words}"}
    asked["COMP_CWORD"] = str(len(asked["COMP_WORDS"].split(" ")) - 1)
    return subprocess.run(
        COMMAND,
        env=environment() | asked | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with study files, a root of two studies, and other things."""
    for name in ("one", "two"):
        write_study(tmp_path / "results", study=name, num_trials=2, num_epochs=1)
    (tmp_path / "results/teachers").mkdir()
    for name in ("one.yaml", "two.yml", "notes.txt", ".hidden.yaml"):
        (tmp_path / name).write_text("")
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/deep.yaml").write_text("")
    return tmp_path


@pytest.fixture
def complete(folder: Path) -> Complete:
    def complete(words: str) -> list[str]:
        done = ask(folder, words)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return complete


def test_commands_and_options_complete(complete: Complete) -> None:
    assert complete("res") == ["resume"]
    assert {"launch", "query", "gc"} < set(complete(""))
    assert complete("plan --no") == ["--no-probe"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("launch ", ["one.yaml", "results/", "sweeps/", "two.yml"]),
        ("plan o", ["one.yaml"]),
        ("plan sweeps/", ["sweeps/deep.yaml"]),
        ("plan .h", [".hidden.yaml"]),
        ("resume ", ["results/", "sweeps/"]),
        ("resume results/", ["results/one", "results/two"]),
        ("resume results/t", ["results/two"]),
        ("analyse results ", ["one", "two"]),
        ("analyse results t", ["two"]),
        ("query ", []),
    ],
)
def test_files_and_studies_complete(complete: Complete, words: str, expected: list[str]) -> None:
    assert complete(words) == expected


def test_ids_of_trials_complete_from_the_tables(complete: Complete, folder: Path) -> None:
    ids = sorted(set(open_results(folder / "results").pandas("trials").trial_id))
    assert complete("attention results ") == ids
    assert complete(f"attention results/one {ids[0][:-1]}") == [one for one in ids if one.startswith(ids[0][:-1])]


def test_a_root_that_is_none_or_damaged_completes_to_nothing_in_silence(folder: Path) -> None:
    (table,) = (folder / "results/one/trials").glob("*.parquet")
    table.write_bytes(b"damaged")
    for words in ("attention results/one ", "attention nowhere ", "analyse nowhere ", "resume nowhere/", "attention "):
        done = ask(folder, words)
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", ""), words


@pytest.mark.parametrize("words", ["launch o", "analyse results o", "resume results/o"])
def test_completing_a_file_or_a_study_loads_nothing_heavy(folder: Path, words: str) -> None:
    name, value = IMPORT_TIMES
    imported, said = split_imports(ask(folder, words, **{name: value}).stderr)
    assert said == ""
    assert not imported & {"pyarrow", "numpy", "torch", "ray", "duckdb"}  # typer itself may load pydantic


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str, folder: Path) -> None:
    # Which shell runs the tests does not matter.
    named = environment() | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [*COMMAND, "--show-completion", shell], env=named, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "_KD_SWEEP_COMPLETE" in done.stdout
    if shell != "bash":
        asked = {"_KD_SWEEP_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "kd-sweep analyse results t"}
        asked |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        answer = subprocess.run(
            COMMAND, env=environment() | asked, cwd=folder, capture_output=True, text=True, check=False
        )
        assert "two" in answer.stdout
        assert answer.stderr == ""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_a_real_bash_completes(folder: Path) -> None:
    program = folder / "bin/kd-sweep"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m kd_sweep "$@"\n')
    program.chmod(0o755)
    script = """
source <(kd-sweep --show-completion bash)
COMP_WORDS=(kd-sweep resume results/t); COMP_CWORD=2
$(complete -p kd-sweep | sed 's/.*-F \\([^ ]*\\) .*/\\1/') kd-sweep
echo "${COMPREPLY[@]}"
"""
    path = f"{program.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=environment() | {"PATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("results/two\n", "")

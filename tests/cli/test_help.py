"""The help: every command in a group, with a summary that is not cut and an example that the command takes."""

import re
import shlex
from typing import Any

import pytest
import typer

from kd_sweep.cli import GROUPS, app
from tests.command_line import IMPORT_TIMES, Cli, Run, split_imports


def command_of(name: str) -> Any:
    return typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]


def test_every_command_stands_in_its_group_with_a_whole_summary(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    code, out, _ = cli("--help")
    assert code == 0
    listed: dict[str, list[str]] = {}
    for line in out.splitlines():
        if heading := re.fullmatch(r"(\w[\w ]*):", line):
            rows = listed.setdefault(heading[1], [])
        elif row := re.match(r"  ([a-z]+)  +\S", line):
            rows.append(row[1])
            assert line.endswith("."), line
            assert not line.endswith("..."), line
            assert len(line) <= 80, line
    names = {group: [command.__name__ for command in commands] for group, commands in GROUPS.items()}
    assert {group: rows for group, rows in listed.items() if rows} == names


@pytest.mark.parametrize("example", [one for examples in GROUPS.values() for one in examples.values()])
def test_the_example_of_a_command_is_one_that_it_takes(example: str, cli: Cli) -> None:
    name, *arguments = shlex.split(example.partition(" > ")[0])
    command = command_of(name)
    context = command.make_context(name, arguments, resilient_parsing=False)
    assert context.command is command
    code, out, _ = cli(name, "--help")
    assert code == 0
    assert f"\nExample:\n  kd-sweep {example}\n" in out


def test_help_loads_nothing_heavy(kd_sweep: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is loaded is counted, and no time is measured."""
    monkeypatch.setenv(*IMPORT_TIMES)
    imported, said = split_imports(kd_sweep("launch", "--help").stderr)
    assert said == ""
    # typer itself may load pydantic for its parameters
    assert not imported & {"pyarrow", "numpy", "torch", "ray", "duckdb", "optuna", "ruamel", "rich"}

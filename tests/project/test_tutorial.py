"""The tutorial does what it shows: its blocks run in order in an empty folder, and its outputs are those of the run."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command_line import environment
from tests.project.pages import TUTORIAL, blocks
from tests.warm_python import command_program, run_warm

INTERRUPTED = "kd-sweep launch first.yaml\n"
FIGURES = re.compile(r"[-+\d.:]+|below")
"""Times differ from run to run, and the last digits of metrics between processors."""


def masked(line: str) -> str:
    """Return the line with its figures, and the spaces around them, alike."""
    return " ".join(FIGURES.sub("#", line).split())


def steps() -> Iterator[tuple[str, str, list[str]]]:
    """Yield the language and text of each block that runs, and the lines of the outputs shown after it."""
    step: tuple[str, str, list[str]] | None = None
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", TUTORIAL.read_text(), re.MULTILINE | re.DOTALL):
        if language in ("sh", "python"):
            if step:
                yield step
            step = (language, text, [])
        elif not language and step:
            step[2].extend(text.splitlines())
    assert step
    yield step


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """An environment in which `kd-sweep` is this checkout's, and the terminal wide."""
    command = tmp_path / "bin/kd-sweep"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m kd_sweep "$@"\n')
    command.chmod(0o755)
    return environment() | {"PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}"}


def interrupted(text: str, folder: Path, variables: dict[str, str]) -> str:
    """Run a launch as somebody who presses Ctrl-C once trials run; return what it shows."""
    process = subprocess.Popen(
        ["/bin/sh", "-c", f"exec {text}"],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "trials: 6 to run" in line:
                process.send_signal(signal.SIGINT)
        assert process.wait() == 1, lines
    finally:
        process.kill()
    return "".join(lines)


def output_of(language: str, text: str, folder: Path, variables: dict[str, str]) -> str:
    if text == INTERRUPTED:
        return interrupted(text, folder, variables)
    programs = [text]
    if language == "sh":
        nothing, *commands = re.split(r"^kd-sweep ", text, flags=re.MULTILINE)
        assert not nothing
        programs = [command_program(*shlex.split(arguments)) for arguments in commands]
    output = ""
    for program in programs:
        done = run_warm(program, folder, variables, timeout_s=240)
        assert done.returncode == 0, (text, done.stderr)
        output += done.stderr + done.stdout
    return output


@pytest.mark.slow
def test_the_tutorial_runs_and_shows_what_it_says(tmp_path: Path, variables: dict[str, str]) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "first.yaml").write_text(blocks(TUTORIAL, "yaml")[0])
    texts = []
    for language, text, shown in steps():
        output = [masked(line) for line in output_of(language, text, folder, variables).splitlines()]
        for line in shown:
            whole = masked(line.partition(" …")[0])
            assert any(told.startswith(whole) for told in output), (text, line, output)
        texts.append(text)
    assert INTERRUPTED in texts
    assert (folder / "attention.png").stat().st_size > 0

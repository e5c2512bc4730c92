"""`kd-sweep serve`: prints where it listens and a first token, runs what is submitted, and ends in order."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import kd_sweep
from kd_sweep import Study
from kd_sweep.cli import app
from kd_sweep.errors import RemoteError
from tests.command_line import Start
from tests.project.pages import ROOT, sections, table_rows
from tests.tiny_study import TINY


def command(name: str) -> Any:
    return typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]


@pytest.fixture
def served(tmp_path: Path, start_kd_sweep: Start) -> Iterator[tuple[Any, kd_sweep.RemoteResults]]:
    process = start_kd_sweep("serve", tmp_path / "results", "--port", 0, "--state", tmp_path / "state")
    lines = iter(process.stdout.readline, "")
    url = next(line for line in lines if line.startswith("http://")).strip()
    token = next(line for line in lines if line.startswith("kds_")).strip()
    yield process, kd_sweep.connect(url, token)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def test_it_answers_makes_one_first_token_and_ends_in_order(
    served: tuple[Any, kd_sweep.RemoteResults], tmp_path: Path, start_kd_sweep: Start
) -> None:
    process, remote = served
    assert remote.whoami() == {"name": "admin", "role": "admin"}
    assert remote.studies() == []
    second = start_kd_sweep("serve", tmp_path / "results", "--port", 0, "--state", tmp_path / "state")
    said = [second.stdout.readline() for _ in range(2)]
    assert not any(line.startswith("kds_") for line in said)
    second.send_signal(signal.SIGTERM)
    out, _ = second.communicate(timeout=60)
    assert "another service runs the studies" in "".join([*said, out])
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    with pytest.raises(RemoteError, match="cannot be reached"):
        remote.whoami()


def test_every_option_is_on_the_page() -> None:
    options = {option for parameter in command("serve").params for option in parameter.opts if option.startswith("--")}
    rows = table_rows(sections(ROOT / "docs/service.md")["Start"], "option", "what it does")
    assert {name.strip("` ") for row in rows for name in row[0].split(",")} == options


@pytest.mark.slow
def test_a_study_that_is_launched_there_is_run(served: tuple[Any, kd_sweep.RemoteResults], tmp_path: Path) -> None:
    _, remote = served
    (tmp_path / "tiny.yaml").write_text(TINY)
    study = Study.from_file(tmp_path / "tiny.yaml", ["search.ensemble_size.grid=[1]", "student.epochs=1"])
    states: list[str] = []
    end = remote.launch(study, progress=lambda content: states.append(content["state"]))
    assert (end["state"], end["progress"]["num_completed"]) == ("finished", 2)
    assert states[-1] == "finished"
    assert remote["tiny"].table("trials")["status"].to_pylist() == ["completed"] * 2
    assert "2 completed" in remote["tiny"].log()["text"]

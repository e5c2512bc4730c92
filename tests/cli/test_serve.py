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
from tests.project.pages import ROOT, blocks, sections, table_rows
from tests.tiny_study import TINY


def command(name: str) -> Any:
    return typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]


@pytest.fixture
def served(tmp_path: Path, start_kd_sweep: Start) -> Iterator[tuple[Any, str, str]]:
    """The process of a service, its address, and the token that its first start has printed."""
    process = start_kd_sweep("serve", tmp_path / "results", "--port", 0, "--state", tmp_path / "state")
    lines = iter(process.stdout.readline, "")
    url = next(line for line in lines if line.startswith("http://")).strip()
    token = next(line for line in lines if line.startswith("kds_")).strip()
    yield process, url, token
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


def test_it_answers_makes_one_first_token_and_ends_in_order(
    served: tuple[Any, str, str], tmp_path: Path, start_kd_sweep: Start
) -> None:
    process, url, token = served
    remote = kd_sweep.connect(url, token)
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
def test_the_block_of_the_page_runs_a_study_there(
    served: tuple[Any, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    smaller = ["name=digits-small", "search.ensemble_size.grid=[1]", "student.epochs=1"]
    told: list[Any] = []
    names = {
        "kd_sweep": kd_sweep,
        "study": Study.from_file(tmp_path / "tiny.yaml", smaller),
        "print": told.append,
    }
    _, url, token = served
    monkeypatch.setenv("KD_SWEEP_TOKEN", token)
    (block,) = (text for text in blocks(ROOT / "docs/python.md", "py") if "connect(" in text)
    exec(block.replace("http://127.0.0.1:8400", url), names)
    planned, *states, leaders = told
    assert planned[0] == "study digits-small: 2 trials, 2 teachers"
    assert (states[-1]["state"], states[-1]["progress"]["num_completed"]) == ("finished", 2)
    assert leaders.num_rows == 2
    study: Any = names["remote"]
    assert study.table("trials")["status"].to_pylist() == ["completed"] * 2
    assert "2 completed" in study.log()["text"]

"""Commands with `--server`: what they print of a service is what they print of its folder."""

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import kd_sweep
from kd_sweep.service.access.roles import Role
from tests.command_line import Cli, assert_one_line
from tests.project.pages import ROOT, blocks
from tests.service.running_service import RunningService, running
from tests.tiny_study import TINY
from tests.trained_studies import train_study

SEEDS = TINY.replace("ensemble_size: {grid: [1, 2]}", "ensemble_size: {grid: [1]}\n  seed: {grid: [0, 1, 2]}")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    train_study(root, SEEDS)
    return root


@pytest.fixture
def service(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningService]:
    (tmp_path / "state").mkdir()
    with running(root, tmp_path / "state") as started:
        monkeypatch.setenv("KD_SWEEP_SERVER", started.url)
        monkeypatch.setenv("KD_SWEEP_TOKEN", started.tokens[Role.OPERATOR])
        yield started


def test_queries_and_analyses_are_those_of_the_folder(
    service: RunningService, root: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [
        ("query", "leaderboard", "--format", "csv"),
        ("query", "SELECT trial_id, epoch, val_accuracy FROM epochs ORDER BY ALL", "--format", "json"),
        ("analyse", "--resamples", "200", "--format", "json"),
    ]
    there = [cli("--server", service.url, command, "tiny", *rest) for command, *rest in asked]
    everything = cli("query", ".", "SELECT count(*) AS n FROM trials", "--format", "csv")
    monkeypatch.delenv("KD_SWEEP_SERVER")
    here = [cli(command, root / "tiny", *rest) for command, *rest in asked]
    assert there == here
    assert all(code == 0 and out for code, out, _ in there)
    assert everything[:2] == (0, '"n"\n6\n')


def test_a_study_is_launched_watched_stopped_and_resumed(service: RunningService, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "mine.yaml").write_text(TINY.replace("name: tiny", "name: mine"))
    code, out, err = cli("launch", tmp_path / "mine.yaml", "--set", "student.epochs=4", "--priority", 3)
    assert (code, out) == (0, "mine\n")
    assert err.startswith("mine: queued, first: no study before it; ")
    code, out, _ = cli("status", ".", "--format", "json")
    mine, tiny = json.loads(out)
    assert (mine["study"], mine["state"], mine["position"], mine["priority"], mine["by"]) == (
        "mine",
        "queued",
        1,
        3,
        "the operator",
    )
    assert (tiny["study"], tiny["state"], tiny["trials"]) == ("tiny", "completed", "6/6")
    _, out, err = cli("status", "mine")
    assert "mine" in out
    assert err.startswith("first: no study before it")
    assert cli("stop", "mine")[2].startswith("study mine: paused; go on with: kd-sweep --server ")
    assert cli("resume", "mine")[2].startswith("study mine: queued, first: ")
    assert cli("logs", "mine")[2] == "study mine: queued\n"
    remote = kd_sweep.connect(service.url)["mine"]
    assert "epochs: 4" in remote.yaml()
    code, out, _ = cli("plan", tmp_path / "mine.yaml")
    assert out.startswith("study mine: 4 trials, 4 teachers\n")


def test_mistakes_are_one_line(
    service: RunningService, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    assert_one_line(cli("query", "tny", "summary"), "study: 'tny' is not in http", "did you mean 'tiny'?")
    assert_one_line(cli("query", "tiny", "SELECT nothing FROM trials"), "SQL: ", "nothing")
    assert_one_line(cli("stop", "tiny"), "study: 'tiny' is not a study of this service")
    assert_one_line(cli("--server", service.url, "rm", "results/digits"), "--server: rm works on this machine alone")
    assert_one_line(cli("--server", "localhost", "status", "."), "server: 'localhost' is not a URL")
    assert_one_line(cli("analyse", "tiny", "--format", "csv"), "--out: is needed for csv from a service")
    code, out, _ = cli("schema")
    assert (code, out[:1]) == (0, "{")
    monkeypatch.setenv("KD_SWEEP_TOKEN", "kds_wrong")
    assert_one_line(cli("status", "."), "token: is not known, expired or revoked")


def test_attention_is_drawn_there_and_of_the_best_epoch_is_that_of_the_folder(
    service: RunningService, root: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = kd_sweep.open_results(root)["tiny"].trials()
    trial = next(trial for trial in trials if trial.row["best_epoch"] < trial.row["last_epoch"])
    drawn = {}
    for epoch, asked in (("last", ()), ("best", ("--best",))):
        out = tmp_path / f"{epoch}.png"
        code, _, err = cli("attention", "tiny", trial.trial_id[:8], "--out", out, "--images", 2, *asked)
        assert (code, err) == (0, f"wrote {out}\n")
        drawn[epoch] = out.read_bytes()
        assert drawn[epoch].startswith(b"\x89PNG")
    monkeypatch.delenv("KD_SWEEP_SERVER")
    here = tmp_path / "here.png"
    assert cli("attention", root, trial.trial_id, "--images", 2, "--best", "--out", here)[0] == 0
    assert drawn["best"] == here.read_bytes() != drawn["last"]


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("launch s.yaml --root r", "--root"),
        ("launch s.yaml --address head:6379", "--address"),
        ("resume s --address head:6379", "--address"),
        ("plan s.yaml --root r", "--root"),
        ("plan s.yaml --no-probe", "--no-probe"),
        ("query s --timeout 3", "--timeout"),
        ("query s --memory-limit 1GB", "--memory-limit"),
        ("attention s 7be4 --out a.png --image 3", "--image"),
        ("attention s 7be4 --out a.png --map cam", "--map"),
        ("attention s 7be4 --out a.png --dpi 200", "--dpi"),
        ("logs s --address http://head:8265", "--address"),
        ("stop s --address http://head:8265", "--address"),
    ],
)
def test_an_option_that_says_nothing_to_a_service_is_refused(command: str, option: str, cli: Cli) -> None:
    """Before the service is asked: nobody listens there."""
    result = cli("--server", "http://127.0.0.1:9", *command.split())
    assert_one_line(result, f"{option}: is for folders of this machine, and http://127.0.0.1:9 is asked; leave it out")


@pytest.mark.parametrize("option", ["--priority", "--slots"])
def test_an_option_for_a_service_is_refused_without_one(option: str, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "s.yaml").write_text(TINY)
    result = cli("launch", tmp_path / "s.yaml", "--root", tmp_path / "root", option, 1)
    assert_one_line(result, f"{option}: is for a service, and none is asked; name one by --server or KD_SWEEP_SERVER")
    assert not (tmp_path / "root").exists()


def test_the_commands_of_the_page_run_one_after_another(
    root: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they are written, but for `--follow`: nobody works off this queue, and it would wait for the end."""
    shutil.copytree(root, tmp_path / "root")
    assert cli("mv", tmp_path / "root/tiny", "digits")[0] == 0
    (tmp_path / "state").mkdir()
    (tmp_path / "sweeps").symlink_to(ROOT / "sweeps")
    monkeypatch.chdir(tmp_path)
    block = next(block for block in blocks(ROOT / "docs/service.md", "sh") if "kd-sweep plan" in block)
    commands = [shlex.split(line)[1:] for line in block.splitlines() if line.startswith("kd-sweep ")]
    assert [command[0] for command in commands][:3] == ["plan", "launch", "status"]
    with running(tmp_path / "root", tmp_path / "state") as service:
        monkeypatch.setenv("KD_SWEEP_SERVER", service.url)
        monkeypatch.setenv("KD_SWEEP_TOKEN", service.tokens[Role.OPERATOR])
        for command in commands:
            code, out, err = cli(*(word for word in command if word != "--follow"))
            assert code == 0, (command, err)
            assert out or command[0] in ("logs", "stop", "resume")

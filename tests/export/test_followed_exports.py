"""Exports that keep up with a running study."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend, JournalStorage

from kd_sweep.export.targets import TARGETS
from kd_sweep.storage.root import Root
from kd_sweep.tables.study_lease import study_lease
from kd_sweep.tables.writer import StudyWriter
from tests.command_line import Cli, Start, Started, assert_one_line
from tests.export.written_study import FINISHED, OBJECTIVES, STUDY, add_trials
from tests.tables.rows import trial_id

OF_STUDIES = [name for name, target in TARGETS.items() if not target.of_network]
PATIENCE_S = 120.0


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StudyWriter]:
    """What writes a study as its driver does, which holds it."""
    root = Root.open(tmp_path / "root")
    root.child(STUDY).ensure_folder()
    lease = study_lease(root.child(STUDY), STUDY)
    with StudyWriter(root, STUDY, lease=lease) as writer:
        writer.set_study(objectives=json.dumps(OBJECTIVES), num_planned=len(FINISHED), status="running")
        writer.flush()
        yield writer
    lease.release()


def following(start_kd_sweep: Start, tmp_path: Path, to: str) -> Started:
    asked = ("export", tmp_path / "root", STUDY, "--to", to, "--out", tmp_path / "out", "--follow")
    return start_kd_sweep(*asked)


def next_written(process: Started) -> str:
    """Wait until an export has changed something; return the line that says so."""
    assert process.stdout is not None
    return next(line for line in process.stdout if line.startswith("wrote "))


def trials_in(out: Path) -> set[str]:
    """Return the ids of the trials in an export, as its tool reads them."""
    if not out.exists():
        return set()
    if out.is_dir() and (out / "trials.parquet").exists():
        import polars as pl

        return set(pl.read_parquet(out / "trials.parquet")["trial_id"])
    if runs := list(out.glob("offline-run-*")):
        return {run.name.rpartition("-")[2] for run in runs if any(run.glob("*.wandb"))}
    if out.is_dir():
        return {folder.name for folder in out.iterdir() if folder.is_dir() and any(folder.glob("events.*"))}
    if out.read_bytes().startswith(b"SQLite"):
        from mlflow import MlflowClient

        client = MlflowClient(f"sqlite:///{out}")
        runs = client.search_runs([one.experiment_id for one in client.search_experiments()])
        return {run.info.run_name for run in runs}
    study = optuna.load_study(study_name=STUDY, storage=JournalStorage(JournalFileBackend(str(out))))
    return {trial.user_attrs["trial_id"] for trial in study.trials}


@pytest.mark.slow
@pytest.mark.parametrize("to", OF_STUDIES)
def test_an_export_follows_a_study_until_it_is_finished(
    to: str, tmp_path: Path, writer: StudyWriter, start_kd_sweep: Start
) -> None:
    for module in TARGETS[to].modules:
        pytest.importorskip(module, reason=f"the extra {to}")
    out = tmp_path / "out"
    process = following(start_kd_sweep, tmp_path, to)
    add_trials(writer, {0: FINISHED[0]})
    writer.flush()
    assert f"wrote {out}: 1 trials" in next_written(process)
    assert trials_in(out) == {trial_id(0)}
    add_trials(writer, dict(list(FINISHED.items())[1:]))
    writer.set_study(status="completed")
    writer.flush()
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    assert trials_in(out) == {trial_id(number) for number in FINISHED}
    assert output.splitlines()[-1].startswith(f"study {STUDY} has ended; {out} has it all: {len(FINISHED)} trials")


def test_ctrl_c_ends_it_with_130_and_what_is_there_is_whole(
    tmp_path: Path, writer: StudyWriter, start_kd_sweep: Start
) -> None:
    out = tmp_path / "out"
    process = following(start_kd_sweep, tmp_path, "optuna")
    add_trials(writer, {0: FINISHED[0]})
    writer.flush()
    next_written(process)
    assert trials_in(out) == {trial_id(0)}
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert output.splitlines()[-1] == f"stopped; {out} has what had finished, and the same command goes on"
    assert trials_in(out) == {trial_id(0)}


def test_an_interrupted_study_is_waited_for_until_it_is_resumed(tmp_path: Path, start_kd_sweep: Start) -> None:
    root = Root.open(tmp_path / "root")
    with StudyWriter(root, STUDY) as writer:
        writer.set_study(objectives=json.dumps(OBJECTIVES), num_planned=2, status="interrupted")
        add_trials(writer, {0: FINISHED[0]})
    process = following(start_kd_sweep, tmp_path, "optuna")
    assert process.stdout is not None
    assert "1 trials" in next_written(process)
    assert process.stdout.readline().startswith(f"study {STUDY} is interrupted; waiting for its resume")
    with StudyWriter(root, STUDY) as writer:
        add_trials(writer, {1: FINISHED[1]})
        writer.set_study(status="completed")
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, output
    assert trials_in(tmp_path / "out") == {trial_id(0), trial_id(1)}


def test_mistakes_are_told_before_it_waits(cli: Cli, written: Path, tmp_path: Path, writer: StudyWriter) -> None:
    """The study of `writer` has no finished trial yet, and runs."""
    running = str(tmp_path / "root")
    mine = tmp_path / "mine"
    mine.write_text("mine")
    mistakes = {
        (str(written), "hf", "new"): ("--follow", "hf", "optuna, tensorboard, mlflow, wandb, ro-crate"),
        (running, "optuna", "mine"): ("--out", str(mine)),
        (running, "optuna", "missing/new"): ("--out", "missing"),
        (running, "optune", "new"): ("--to", "did you mean 'optuna'"),
    }
    for (root, to, out), parts in mistakes.items():
        asked = ("export", root, STUDY, "--to", to, "--out", str(tmp_path / out), "--follow")
        assert_one_line(cli(*asked), *parts)
    assert mine.read_text() == "mine"


def test_a_study_that_ends_without_a_finished_trial_is_one_line(cli: Cli, tmp_path: Path) -> None:
    with StudyWriter(Root.open(tmp_path / "root"), STUDY) as writer:
        writer.set_study(objectives=json.dumps(OBJECTIVES), num_planned=2, status="incomplete")
        add_trials(writer, {0: ("lost", 1)})
    asked = ("export", str(tmp_path / "root"), STUDY, "--to", "optuna", "--out", str(tmp_path / "out"), "--follow")
    assert_one_line(cli(*asked), STUDY, "no trial", "is finished")

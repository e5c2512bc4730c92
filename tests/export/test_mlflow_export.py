"""Exports to MLflow, read by its own client and server."""

import datetime
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from kd_sweep.storage.root import Root
from kd_sweep.tables.writer import StudyWriter
from tests.command_line import Cli, assert_one_line
from tests.export.written_study import (
    FAILURE,
    FINISHED,
    STUDY,
    add_trials,
    curve,
    last_value,
    settings_of,
    write_study,
)
from tests.project.pages import EXPORTS, blocks, page_id
from tests.tables.rows import FINISHED_AT, trial_id

if TYPE_CHECKING:
    from mlflow.entities import Run

OURS = "kd_sweep"
"""How tags begin that people have not given."""

pytest.importorskip("mlflow", reason="the extra mlflow")
pytestmark = pytest.mark.usefixtures("mlflow_tables")


def export(cli: Cli, root: Path, out: Path, study: str = STUDY) -> str:
    code, printed, error = cli("export", str(root), study, "--to", "mlflow", "--out", str(out))
    assert (code, printed) == (0, ""), error
    return error


def runs_of(out: Path, study: str = STUDY) -> "dict[str, Run]":
    """Return the runs by name, as the block of docs/exports.md reads them."""
    (block,) = (block for block in blocks(EXPORTS, "python") if "MlflowClient" in block)
    block = block.replace('"digits"', f'"{study}"').replace("digits.db", str(out))
    names: dict[str, Any] = {}
    exec(compile(block, page_id(EXPORTS), "exec"), names)
    return {run.info.run_name: run for run in names["runs"]}


@pytest.fixture(scope="module")
def store(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of the study `written`. Read it only."""
    import kd_sweep

    out = tmp_path_factory.mktemp("mlflow") / "study.db"
    assert kd_sweep.open_results(written)[STUDY].export("mlflow", out).changed
    return out


def test_mlflow_finds_runs_with_parameters_metrics_tags_and_times(store: Path) -> None:
    runs = runs_of(store)
    assert runs.keys() == {trial_id(number) for number in FINISHED}
    finished_ms = round(FINISHED_AT.timestamp() * 1000)
    for number, (status, last) in FINISHED.items():
        run = runs[trial_id(number)]
        assert run.info.status == ("FAILED" if status == "failed" else "FINISHED")
        assert (run.info.start_time, run.info.end_time) == (finished_ms, finished_ms)
        point = {"augmentation_strength": number % 3 / 2, "ensemble_size": number % 2 + 1, "seed": number % 5}
        searched = {name: value for name, value in settings_of(number).items() if value is not None}
        assert run.data.params == {name: str(value) for name, value in (point | searched).items()}
        for metric in ("val_accuracy", "ece"):
            assert run.data.metrics[metric] == last_value(number, metric)
        assert run.data.tags[f"{OURS}.status"] == status
        assert run.data.tags[f"{OURS}.last_epoch"] == str(last)
    assert runs[trial_id(3)].data.tags[f"{OURS}.error"] == FAILURE


def test_mlflow_has_every_epoch_and_searches_by_metrics_and_parameters(store: Path) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store}")
    experiment = client.get_experiment_by_name(STUDY)
    for number, run in ((number, runs_of(store)[trial_id(number)]) for number in FINISHED):
        for metric in ("val_accuracy", "ece"):
            history = client.get_metric_history(run.info.run_id, metric)
            assert {one.step: one.value for one in history} == curve(number, metric)
    limit = sorted(last_value(number, "val_accuracy") for number in FINISHED)[2]
    query = f"metrics.val_accuracy >= {limit!r} AND params.seed != '9'"
    found = client.search_runs([experiment.experiment_id], query, order_by=["metrics.val_accuracy DESC"])
    expected = sorted(FINISHED, key=lambda number: -last_value(number, "val_accuracy"))[:2]
    assert [run.info.run_name for run in found] == [trial_id(number) for number in expected]


def test_a_trial_that_ran_again_is_replaced_and_what_people_have_added_stays(cli: Cli, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    root, out = tmp_path / "root", tmp_path / "study.db"
    write_study(root)
    export(cli, root, out)
    client = MlflowClient(f"sqlite:///{out}")
    for number in (0, 3):
        client.set_tag(runs_of(out)[trial_id(number)].info.run_id, "mine", "look")
    client.rename_experiment(client.get_experiment_by_name(STUDY).experiment_id, "renamed")
    with StudyWriter(Root.open(root), STUDY) as writer:
        add_trials(writer, {3: ("completed", 1)})
        writer.upsert_trial({"trial_id": trial_id(3), "attempts": 2, "error": None, "val_accuracy": 0.75})
    assert "wrote" in export(cli, root, out)
    runs = runs_of(out, "renamed")
    assert runs.keys() == {trial_id(number) for number in FINISHED}
    assert runs[trial_id(3)].info.status == "FINISHED"
    assert [runs[trial_id(number)].data.tags["mine"] for number in (0, 3)] == ["look", "look"]
    assert "has it all" in export(cli, root, out)


def test_a_file_holds_several_studies_and_keeps_others_out(cli: Cli, tmp_path: Path) -> None:
    root, out = tmp_path / "root", tmp_path / "studies.db"
    write_study(root)
    write_study(root, study="second")
    export(cli, root, out)
    export(cli, root, out, "second")
    assert len(runs_of(out)) == len(runs_of(out, "second")) == len(FINISHED)
    with StudyWriter(Root.open(root), STUDY) as writer:
        writer.set_study(created_at=FINISHED_AT - datetime.timedelta(days=1))
    asked = ("export", str(root), STUDY, "--to", "mlflow", "--out", str(out))
    assert_one_line(cli(*asked), "--out", str(out), "is an export of study 'written'")


def test_tables_of_another_mlflow_are_refused_in_one_line(cli: Cli, written: Path, tmp_path: Path) -> None:
    import kd_sweep

    out = tmp_path / "study.db"
    kd_sweep.open_results(written)[STUDY].export("mlflow", out)
    asked = ("export", str(written), STUDY, "--to", "mlflow", "--out", str(out))
    with sqlite3.connect(out) as database:
        columns = database.execute("SELECT sql FROM sqlite_master WHERE name = 'params'").fetchone()[0]
        database.execute("DROP TABLE params")
        database.execute(columns.replace("value VARCHAR(8000) NOT NULL", "text VARCHAR(8000) NOT NULL"))
    assert_one_line(cli(*asked), "--to", "MLflow", "params", "text, value")
    with sqlite3.connect(out) as database:
        database.execute("UPDATE alembic_version SET version_num = 'f00'")
    assert_one_line(cli(*asked), "--out", str(out), "MLflow", "f00")

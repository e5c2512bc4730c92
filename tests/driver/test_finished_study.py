"""A small study that ran to its end: what it left behind, and what a user can and cannot do with it."""

from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow.dataset
import pytest

from kd_sweep.tables.reader import open_results
from tests.command_line import IMPORT_TIMES, Cli, Run, split_imports
from tests.comparing_tables import comparable


def test_every_trial_reports_every_epoch_and_teachers_are_shared(uninterrupted: Path) -> None:
    results = open_results(uninterrupted)
    epochs = results.pandas("epochs")
    assert sorted(zip(epochs.trial_id, epochs.epoch, strict=True)) == sorted(
        (trial, epoch) for trial in epochs.trial_id.unique() for epoch in (1, 2, 3)
    )
    trials = results.pandas("trials")
    assert list(trials.status) == ["completed"] * 4
    assert list(trials.last_epoch) == [3] * 4
    teachers = results.pandas("teachers")
    assert sorted(zip(teachers.augmentation_strength, teachers.member, strict=True)) == [
        (0.0, 1), (0.0, 2), (0.5, 1), (0.5, 2),
    ]  # fmt: skip
    single = trials[trials.ensemble_size == 1]
    assert single.attention_iou_teachers.isna().all()
    assert trials[trials.ensemble_size == 2].attention_iou_teachers.between(0, 1).all()


def test_a_finished_study_starts_nothing(
    finished: Path, tiny: Path, kd_sweep: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = comparable(finished, "epochs")
    monkeypatch.setenv(*IMPORT_TIMES)
    again = kd_sweep("launch", tiny, "--root", finished)
    imported, said = split_imports(again.stderr)
    assert again.returncode == 0, said
    assert "nothing left to run (4 completed)" in said
    assert not {"torch", "ray"} & imported
    assert comparable(finished, "epochs").equals(before)


def test_plain_readers_open_the_folders(uninterrupted: Path) -> None:
    for name, rows in (("epochs", 12), ("trials", 4), ("teachers", 4), ("study", 1)):
        folder = uninterrupted / "tiny" / name
        assert len(pandas.read_parquet(folder)) == rows
        assert pyarrow.dataset.dataset(folder).count_rows() == rows
        assert polars.read_parquet(f"{folder}/*.parquet").height == rows
        ((count,),) = duckdb.sql(f"SELECT count(*) FROM '{folder}/*.parquet'").fetchall()
        assert count == rows


def test_a_change_that_would_mix_results_is_refused(finished: Path, tiny: Path, cli: Cli) -> None:
    before = comparable(finished, "trials")
    frozen = (finished / "tiny" / "study.yaml").read_bytes()
    code, _, err = cli("launch", tiny, "--root", finished, "--set", "student.learning_rate=0.05")
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert "student.learning_rate: 0.05 differs from 0.1" in err
    assert comparable(finished, "trials").equals(before)
    assert (finished / "tiny" / "study.yaml").read_bytes() == frozen


@pytest.mark.parametrize(
    ("sql", "part"),
    [
        ("SELECT val_acuracy FROM trials", "val_accuracy"),
        ("SELEC 1", "SELEC"),
        ("summry", "did you mean 'summary'"),
        ("SELECT * FROM trails", "trials"),
        ("DELETE FROM trials", "read-only"),
        ("COPY trials TO 'x.csv'", "read-only"),
        ("CREATE TABLE x AS SELECT 1", "read-only"),
        ("SELECT * FROM '/etc/passwd'", "/etc/passwd"),
    ],
)
def test_wrong_sql(uninterrupted: Path, cli: Cli, sql: str, part: str) -> None:
    code, out, err = cli("query", uninterrupted, sql)
    assert code == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert part in err


def test_more_gpus_than_there_are(tiny: Path, tmp_path: Path, cli: Cli) -> None:
    code, _, err = cli("launch", tiny, "--root", tmp_path / "results", "--set", "resources.gpus=64")
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert "resources.gpus: 64" in err
    assert not (tmp_path / "results" / "tiny").exists()

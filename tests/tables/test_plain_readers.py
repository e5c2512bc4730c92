"""The folders open in tools that know nothing of us."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest

from tests.project.pages import ROOT, blocks
from tests.tables.rows import metric_value, trial_id, write_study

PYSPARK = "KD_SWEEP_PYSPARK"
"""The variable with the Python of an environment that has PySpark, which is 490 MB."""
NUM_TRIALS, NUM_EPOCHS = 6, 4
FOLDERS = {"epochs": 24, "trials": 6, "study": 1}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    write_study(root)
    # What a killed writer may leave is no obstacle either.
    (root / "digits" / ".00000009-00000009.parquet.0123456789ab.tmp").write_bytes(b"PAR1 half")
    return root / "digits"


@pytest.mark.parametrize(("folder", "num_rows"), FOLDERS.items())
def test_every_folder_opens_everywhere(study: Path, folder: str, num_rows: int):
    path = study / folder
    assert len(pd.read_parquet(path)) == num_rows
    assert ds.dataset(path).count_rows() == num_rows
    assert duckdb.sql(f"FROM '{path}/*.parquet'").to_arrow_table().num_rows == num_rows
    assert pl.scan_parquet(path).collect().height == num_rows


def test_all_tools_see_the_same_cells(study: Path):
    names = ["trial_id", "epoch", "val_accuracy", "attention_iou_teachers", "finished_at"]
    arrow = (
        ds.dataset(study / "epochs")
        .to_table(columns=names)
        .sort_by([("trial_id", "ascending"), ("epoch", "ascending")])
    )
    pandas = pd.read_parquet(study / "epochs")[names].sort_values(["trial_id", "epoch"], ignore_index=True)
    polars = pl.scan_parquet(study / "epochs").select(names).sort("trial_id", "epoch").collect()
    duck = duckdb.sql(f"SELECT {', '.join(names[:4])} FROM '{study}/epochs/*.parquet' ORDER BY 1, 2").fetchall()
    assert arrow.to_pandas().equals(pandas)
    assert arrow.to_pylist() == polars.to_dicts()
    assert duck == [tuple(row[name] for name in names[:4]) for row in arrow.to_pylist()]
    assert polars.filter(pl.col("attention_iou_teachers").is_null()).height == 12
    assert set(pandas["trial_id"]) == {trial_id(number) for number in range(6)}


@pytest.mark.long
def test_spark_reads_the_epochs(tmp_path: Path) -> None:
    python = os.environ.get(PYSPARK) or (sys.executable if importlib.util.find_spec("pyspark") else None)
    if python is None or shutil.which("java") is None:
        pytest.skip(
            f"needs Java 17 (openjdk-17-jre-headless), and PySpark: here, or in the Python that {PYSPARK} names"
        )
    write_study(tmp_path / "results", "digits", NUM_TRIALS, NUM_EPOCHS)
    (block,) = blocks(ROOT / "docs/tables.md", "py")
    command = [python, "-c", block.replace(".show()", ".show(truncate=False)")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    cells = [line.strip("|").split("|") for line in done.stdout.splitlines() if line.startswith("|")][1:]
    means = {
        epoch: sum(metric_value(trial_id(number), epoch, "val_accuracy") for number in range(NUM_TRIALS)) / NUM_TRIALS
        for epoch in range(1, NUM_EPOCHS + 1)
    }
    assert {int(epoch): float(mean) for epoch, mean in cells} == pytest.approx(means)

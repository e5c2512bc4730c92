"""The folders open in tools that know nothing of us."""

from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest

from tests.tables.rows import trial_id, write_study

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

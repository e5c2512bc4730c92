"""The rows of some trials of many: all of them, in order, and nothing else is read whole for them."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from kd_sweep.errors import CorruptFileError
from kd_sweep.storage.root import Root
from kd_sweep.tables import epoch_parts
from kd_sweep.tables.epoch_scan import snapshot
from tests.tables.rows import trial_id, write_study

NUM_TRIALS, NUM_EPOCHS = 12, 4


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """A study whose one file has a group of rows for every two trials."""
    monkeypatch.setattr(epoch_parts, "ROWS_PER_GROUP", 2 * NUM_EPOCHS)
    write_study(tmp_path, "s", NUM_TRIALS, NUM_EPOCHS)
    return Root.open(tmp_path).child("s")


def test_rows_of_some_trials_are_all_of_them_in_order(study: Root) -> None:
    wanted = [trial_id(number) for number in (7, 2, 5)]
    expected = pl.read_parquet(f"{study}/epochs/*.parquet").filter(pl.col("trial_id").is_in(wanted))
    found = pl.from_arrow(snapshot([study]).of_trials(wanted))
    assert isinstance(found, pl.DataFrame)
    assert found.equals(expected.sort("trial_id", "epoch"))
    assert found.height == 3 * NUM_EPOCHS


def test_of_a_trial_that_is_not_there_are_no_rows(study: Root) -> None:
    found = snapshot([study]).of_trials(["0123456789abcdef"])
    assert (found.num_rows, found.schema.names) == (0, snapshot([study]).dataset.schema.names)


def test_groups_of_rows_without_the_trial_are_not_read_whole(study: Root) -> None:
    (file,) = (Path(str(study)) / "epochs").iterdir()
    metadata = pq.read_metadata(file)
    ids = sorted(trial_id(number) for number in range(NUM_TRIALS))
    group = metadata.row_group(1)  # of the third and the fourth trial
    column = next(group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == "val_accuracy")
    content = bytearray(file.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 0xFF
    file.write_bytes(content)
    for sound in (ids[0], ids[11]):
        assert snapshot([study]).of_trials([sound]).num_rows == NUM_EPOCHS
    with pytest.raises(CorruptFileError, match=file.name):
        snapshot([study]).of_trials([ids[2]])

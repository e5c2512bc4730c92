import random
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_sweep.errors import CorruptFileError, StorageError
from kd_sweep.storage.root import Root
from kd_sweep.study.metric_catalogue import METRICS_VERSION
from kd_sweep.tables import epoch_parts
from kd_sweep.tables.epoch_parts import (
    FAN_IN,
    MAX_MERGED_ROWS,
    Part,
    closing_merge,
    counted,
    due_merge,
    has_gap,
    list_parts,
    merge,
    read_part,
    superseded,
    write_part,
)
from kd_sweep.tables.epoch_scan import snapshot
from kd_sweep.tables.schema import EPOCHS, SCHEMA_VERSION
from tests.tables.rows import epoch_row, trial_id, write_study

NUM_TRIALS, NUM_EPOCHS = 12, 4


def epochs_table(numbers: list[int], epoch: int = 1) -> pa.Table:
    rows = [{"study": "s", **epoch_row(number, epoch)} for number in numbers]
    return pa.Table.from_pylist(rows, schema=EPOCHS)


def test_a_part_inside_another_does_not_count():
    names = [
        "00000001-00000008-00000001.parquet",
        "00000003-00000003-00000001.parquet",
        "00000009-00000009-00000001.parquet",
    ]
    assert counted(names, 1) == [Part(1, 8, 1), Part(9, 9, 1)]
    assert superseded(names, 1) == ["00000003-00000003-00000001.parquet"]


def test_other_files_are_not_parts():
    names = [
        ".00000001-00000001-00000001.parquet.ab.tmp",
        "_SUCCESS",
        "x.parquet",
        "1-1-1.parquet",
        "00000002-00000002-00000001.parquet",
    ]
    assert counted(names, 1) == [Part(2, 2, 1)]
    assert superseded(names, 1) == []


def test_names_sort_like_flushes():
    parts = [Part(n, n, 1) for n in (1, 9, 10, 99, 100, 12_345_678)]
    assert sorted(part.name for part in parts) == [part.name for part in parts]


@given(st.integers(1, 400), st.integers(0, 2**32))
def test_any_moment_of_any_merging_counts_every_flush_once(num_flushes: int, seed: int):
    """Files on disk during merges: a merged part beside any of the parts that it holds, not yet deleted."""
    choice = random.Random(seed)
    parts: list[Part] = []
    left: list[Part] = []
    for flush in range(1, num_flushes + 1):
        parts.append(Part(flush, flush, 1))
        while due := due_merge(parts, lambda part: part.last - part.first + 1):
            merged = Part(due[0].first, due[-1].last, 1)
            left += [part for part in due if choice.random() < 0.3]
            parts = [part for part in parts if part not in due] + [merged]
            parts.sort()
    names = [part.name for part in parts + left]
    choice.shuffle(names)
    kept = counted(names, 1)
    assert [flush for part in kept for flush in range(part.first, part.last + 1)] == list(range(1, num_flushes + 1))
    assert not has_gap(kept)


@pytest.mark.parametrize("rows_per_flush", [1, 100, 20_000])
def test_files_stay_under_a_hundred_and_merges_bounded(rows_per_flush: int):
    """Up to 20,000 flushes (28 hours at one per 5 s), or 4,000,000 rows."""
    parts: list[Part] = []
    most, written = 0, 0

    def rows(part: Part) -> int:
        return (part.last - part.first + 1) * rows_per_flush

    num_flushes = min(20_000, 4_000_000 // rows_per_flush)
    for flush in range(1, num_flushes + 1):
        parts.append(Part(flush, flush, 1))
        while due := due_merge(parts, rows):
            assert len(due) > 1
            merged = Part(due[0].first, due[-1].last, 1)
            assert rows(merged) <= MAX_MERGED_ROWS
            written += rows(merged)
            parts = sorted([part for part in parts if part not in due] + [merged])
        most = max(most, len(parts))
    assert most < 60
    assert written <= 6 * num_flushes * rows_per_flush
    while due := closing_merge(parts, rows):
        parts = sorted([part for part in parts if part not in due] + [Part(due[0].first, due[-1].last, 1)])
    assert len(parts) <= 1 + num_flushes * rows_per_flush // (MAX_MERGED_ROWS // 2)
    assert not has_gap(parts)


def test_nothing_is_due_below_the_fan_in():
    parts = [Part(n, n, 1) for n in range(1, FAN_IN)]
    assert not due_merge(parts, lambda part: 1)
    assert list(due_merge([*parts, Part(FAN_IN, FAN_IN, 1)], lambda part: 1)) == [*parts, Part(FAN_IN, FAN_IN, 1)]
    assert not due_merge([], lambda part: 1)
    assert not closing_merge([Part(1, 1, 1)], lambda part: 1)


def test_merging_keeps_every_cell_and_sorts(tmp_path: Path):
    root = Root.open(tmp_path)
    tables = [epochs_table([3, 1, 2], epoch=1), epochs_table([2, 3], epoch=2), epochs_table([1], epoch=2)]
    parts = [Part(n, n, 1) for n in (1, 2, 3)]
    for part, table in zip(parts, tables, strict=True):
        write_part(root, part, table)
    merged, num_rows = merge(root, parts)
    assert (merged, num_rows) == (Part(1, 3, 1), 6)
    assert list_parts(root) == [merged]
    found = pq.read_table(tmp_path / merged.path)
    expected = pa.concat_tables(tables).to_pandas().sort_values(["trial_id", "epoch"], ignore_index=True)
    assert found.to_pandas().equals(expected)


def test_files_say_their_versions_and_have_the_plain_types(tmp_path: Path):
    root = Root.open(tmp_path)
    write_part(root, Part(1, 1, 1), epochs_table([1]))
    schema = pq.read_schema(tmp_path / Part(1, 1, 1).path)
    assert schema.metadata[b"schema_version"] == SCHEMA_VERSION.encode() == b"1"
    assert schema.metadata[b"metrics_version"] == str(METRICS_VERSION).encode() == b"4"
    assert schema.remove_metadata().equals(EPOCHS.remove_metadata())
    column = pq.ParquetFile(tmp_path / Part(1, 1, 1).path).metadata.row_group(0).column(1)
    assert column.compression == "ZSTD"
    assert any("DICTIONARY" in encoding for encoding in column.encodings)


def test_columns_of_older_and_newer_files_survive_a_merge(tmp_path: Path):
    root = Root.open(tmp_path)
    old = epochs_table([1]).drop_columns(["ece"])
    newer = epochs_table([2]).append_column("calibrated_ece", pa.array([0.5]))
    write_part(root, Part(1, 1, 1), old)
    write_part(root, Part(2, 2, 1), newer)
    merged, _ = merge(root, [Part(1, 1, 1), Part(2, 2, 1)])
    rows = {row["trial_id"]: row for row in pq.read_table(tmp_path / merged.path).to_pylist()}
    first, second = (rows[epoch_row(number, 1)["trial_id"]] for number in (1, 2))
    assert (first["ece"], first["calibrated_ece"]) == (None, None)
    assert second["calibrated_ece"] == 0.5


def test_a_file_of_a_newer_layout_is_refused(tmp_path: Path):
    root = Root.open(tmp_path)
    table = epochs_table([1]).replace_schema_metadata({b"schema_version": b"2"})
    (tmp_path / "epochs").mkdir()
    pq.write_table(table, tmp_path / Part(1, 1, 1).path)
    with pytest.raises(StorageError, match=r"schema_version: '2' is newer than 1.*00000001-00000001-00000001.parquet"):
        read_part(root, Part(1, 1, 1))


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped byte", "not parquet"])
def test_a_damaged_part_is_named(tmp_path: Path, damage: str):
    root = Root.open(tmp_path)
    part = Part(1, 1, 1)
    write_part(root, part, epochs_table(list(range(2_000))))
    path = tmp_path / part.path
    content = bytearray(path.read_bytes())
    if damage == "flipped byte":
        content[len(content) // 2] ^= 0xFF
    path.write_bytes(
        {"empty": b"", "truncated": content[:-100], "flipped byte": content, "not parquet": b"x" * 5_000}[damage]
    )
    with pytest.raises(CorruptFileError, match=r"epochs/00000001-00000001-00000001\.parquet is damaged: ") as caught:
        read_part(root, part)
    assert "\n" not in str(caught.value)


def test_a_missing_part_is_file_not_found(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        read_part(Root.open(tmp_path), Part(1, 1, 1))


def test_a_gap_that_stays_is_listed(tmp_path: Path):
    root = Root.open(tmp_path)
    for flush in (1, 3):
        write_part(root, Part(flush, flush, 1), epochs_table([flush]))
    assert list_parts(root) == [Part(1, 1, 1), Part(3, 3, 1)]
    assert list_parts(Root.open(tmp_path / "nowhere")) == []


@pytest.fixture
def grouped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """A study whose one file has a group of rows for every two trials."""
    monkeypatch.setattr(epoch_parts, "ROWS_PER_GROUP", 2 * NUM_EPOCHS)
    write_study(tmp_path, "s", NUM_TRIALS, NUM_EPOCHS)
    return Root.open(tmp_path).child("s")


def test_rows_of_some_trials_are_all_of_them_in_order(grouped: Root) -> None:
    wanted = [trial_id(number) for number in (7, 2, 5)]
    expected = pl.read_parquet(f"{grouped}/epochs/*.parquet").filter(pl.col("trial_id").is_in(wanted))
    found = pl.from_arrow(snapshot([grouped]).of_trials(wanted))
    assert isinstance(found, pl.DataFrame)
    assert found.equals(expected.sort("trial_id", "epoch"))
    assert found.height == 3 * NUM_EPOCHS


def test_of_a_trial_that_is_not_there_are_no_rows(grouped: Root) -> None:
    assert snapshot([grouped]).of_trials([]).num_rows == 0
    found = snapshot([grouped]).of_trials(["0123456789abcdef"])
    assert (found.num_rows, found.schema.names) == (0, snapshot([grouped]).dataset.schema.names)


def test_groups_of_rows_without_the_trial_are_not_read_whole(grouped: Root) -> None:
    (file,) = (Path(str(grouped)) / "epochs").iterdir()
    metadata = pq.read_metadata(file)
    ids = sorted(trial_id(number) for number in range(NUM_TRIALS))
    group = metadata.row_group(1)  # of the third and the fourth trial
    column = next(group.column(i) for i in range(group.num_columns) if group.column(i).path_in_schema == "val_accuracy")
    content = bytearray(file.read_bytes())
    content[column.data_page_offset + column.total_compressed_size // 2] ^= 0xFF
    file.write_bytes(content)
    for sound in (ids[0], ids[11]):
        assert snapshot([grouped]).of_trials([sound]).num_rows == NUM_EPOCHS
    with pytest.raises(CorruptFileError, match=file.name):
        snapshot([grouped]).of_trials([ids[2]])

"""The checksums in a table's file: they find what the page checksums of Parquet leave out, and blame no good file."""

import errno
import hashlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from kd_sweep.errors import CorruptFileError, StorageError
from kd_sweep.storage.parquet_checksums import DATA_KEY, FOOTER_KEY, damage_named
from kd_sweep.storage.root import Root
from kd_sweep.tables.current_files import table_file
from kd_sweep.tables.epoch_parts import list_parts, read_part
from kd_sweep.tables.epoch_scan import snapshot
from kd_sweep.tables.keyed_table import read_table
from kd_sweep.tables.schema import TABLE_FILES
from kd_sweep.tables.writer import StudyWriter
from tests.damage import FailingDisk

TRIALS = TABLE_FILES["trials"]


@pytest.fixture
def study(tmp_path: Path) -> Root:
    """One trial of three epochs."""
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        writer.upsert_trial({"trial_id": "t", "status": "running", "student_lr": 0.5})
        for epoch in (1, 2, 3):
            writer.add_epoch({"trial_id": "t", "epoch": epoch, "val_accuracy": epoch / 7})
    return Root.open(tmp_path).child("s")


def read_whole(study: Root) -> pa.Table:
    (part,) = list_parts(study)
    return read_part(study, part)


def read_columns(study: Root) -> pa.Table:
    (part,) = list_parts(study)
    return read_part(study, part, ["trial_id", "epoch"])


def queried(study: Root) -> pa.Table:
    """As SQL reads: filters go by what the footer says of a group of rows, and only some of the bytes are looked at."""
    return snapshot([study]).dataset.to_table(filter=ds.field("epoch") == 2)


def epochs_file(study: Root) -> Path:
    (part,) = list_parts(study)
    return study.local_path(part.path)


def footer_of(content: bytes) -> int:
    return len(content) - 8 - int.from_bytes(content[-8:-4], "little")


@pytest.mark.parametrize("read", [read_whole, read_columns, queried, lambda study: read_table(study, TRIALS)])
def test_no_flipped_bit_goes_unnoticed_unless_it_changes_nothing(study: Root, read: Callable[[Root], pa.Table]) -> None:
    path = study.local_path(table_file(study, TRIALS)) if read.__name__ == "<lambda>" else epochs_file(study)
    good, expected = path.read_bytes(), read(study)
    noticed = set()
    offsets = range(0, len(good), 23)
    for offset in offsets:
        path.write_bytes(good[:offset] + bytes([good[offset] ^ 4]) + good[offset + 1 :])
        try:
            assert read(study).equals(expected), offset
        except (CorruptFileError, StorageError, pa.ArrowException, OSError):
            noticed.add(offset)
    unnoticed = [offset for offset in offsets if offset not in noticed]
    if read is queried:
        assert len(noticed) > len(offsets) / 2
        unnoticed = [offset for offset in unnoticed if offset >= footer_of(good)]
    own = good.rindex(FOOTER_KEY)
    assert all(own <= offset < own + len(FOOTER_KEY) + 2 + 64 for offset in unnoticed), "in the footer sum's own entry"


@pytest.mark.parametrize("table", ["epochs", "trials"])
def test_the_sums_are_plain_sha256_and_the_file_plain_parquet(study: Root, table: str) -> None:
    path = epochs_file(study) if table == "epochs" else study.local_path(table_file(study, TRIALS))
    content = path.read_bytes()
    start = footer_of(content)
    stated = pq.read_metadata(path).metadata
    assert stated[DATA_KEY].decode() == hashlib.sha256(content[:start]).hexdigest()
    zeroed = content[start:].replace(stated[FOOTER_KEY], b"0" * 64)
    assert stated[FOOTER_KEY].decode() == hashlib.sha256(zeroed).hexdigest()
    assert pq.read_table(path)["trial_id"].to_pylist() == ["t"] * (3 if table == "epochs" else 1)


@pytest.mark.parametrize("sums", [{}, {b"content_sha256": b"0" * 64}], ids=["none", "of another kind"])
def test_files_from_before_there_were_such_sums_are_read(study: Root, sums: dict[bytes, bytes]) -> None:
    for path in (epochs_file(study), study.local_path(table_file(study, TRIALS))):
        table = pq.read_table(path)
        kept = {key: value for key, value in table.schema.metadata.items() if key not in (DATA_KEY, FOOTER_KEY)}
        pq.write_table(table.replace_schema_metadata(kept | sums), path, write_page_checksum=True)
    assert read_table(study, TRIALS)["student_lr"].to_pylist() == [0.5]
    assert read_whole(study)["epoch"].to_pylist() == read_columns(study)["epoch"].to_pylist() == [1, 2, 3]
    assert queried(study).num_rows == 1
    path = epochs_file(study)
    content = path.read_bytes()
    at = pq.read_metadata(path).row_group(0).column(0).total_compressed_size + 3
    path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
    with pytest.raises(CorruptFileError):  # by the checksums of its pages
        read_columns(study)


@pytest.mark.parametrize("read", [read_whole, queried, lambda study: read_table(study, TRIALS)])
def test_what_cannot_be_read_is_not_damaged(study: Root, read: Callable[[Root], pa.Table]) -> None:
    study.filesystem = FailingDisk(".parquet")
    with pytest.raises(StorageError, match=r"\.parquet cannot be read: Input/output error$"):
        read(study)


def test_failures_of_the_filesystem_and_of_parsers_are_told_apart() -> None:
    with pytest.raises(StorageError, match="x cannot be read: Stale file handle"), damage_named("x"):
        raise OSError(errno.ESTALE, "stale")
    with pytest.raises(CorruptFileError, match=r"x is damaged: no such page$"), damage_named("x"):
        raise OSError("no such page\nin the file")
    with pytest.raises(MemoryError), damage_named("x"):
        raise pa.lib.ArrowMemoryError("malloc of 1 GB failed")

"""The checksums over values and over the footer: they find what the page checksums of Parquet leave out."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from kd_sweep.errors import CorruptFileError, StorageError
from kd_sweep.results.content import CONTENT_KEY, ContentDigest, content_metadata
from kd_sweep.results.footer import FOOTER_KEY
from kd_sweep.results.keyed import read_keyed
from kd_sweep.results.parts import list_parts, read_part
from kd_sweep.results.scan import snapshot
from kd_sweep.results.storage import Root
from kd_sweep.results.writer import StudyWriter

TABLE = pa.table(
    {
        "text": ["a", None, "", "ünï", "a"],
        "number": [1.5, None, -0.0, 0.0, 2.0],
        "count": [1, 2, None, 4, 5],
        "flag": [True, None, False, True, False],
        "empty": pa.nulls(5, pa.string()),
    }
)


def test_grouping_and_encoding_of_rows_do_not_matter() -> None:
    whole = content_metadata(TABLE)
    digest = ContentDigest(TABLE.schema)
    for start, length in ((0, 1), (1, 3), (4, 0), (4, 1)):
        digest.add(TABLE.slice(start, length))
    assert digest.metadata() == whole
    encoded = TABLE.set_column(0, "text", TABLE["text"].dictionary_encode())
    assert content_metadata(encoded) == whole


def test_many_rows_are_summed_in_threads_and_to_the_same() -> None:
    many = pa.concat_tables([TABLE] * 5_000)
    digest = ContentDigest(many.schema)
    for start in range(0, many.num_rows, 5_000):
        digest.add(many.slice(start, 5_000))
    assert digest.metadata() == content_metadata(many)


@pytest.mark.parametrize(
    "changed",
    [
        TABLE.slice(1),
        TABLE.take(pa.array([1, 0, 2, 3, 4])),
        TABLE.rename_columns(["text", "number", "counts", "flag", "empty"]),
        TABLE.set_column(0, "text", pa.array(["a", "", None, "ünï", "a"])),
        TABLE.set_column(0, "text", pa.array(["aün", None, "", "ï", "a"])),
        TABLE.set_column(1, "number", pa.array([1.5, 0.0, -0.0, 0.0, 2.0])),
    ],
)
def test_every_change_of_a_value_matters(changed: pa.Table) -> None:
    assert content_metadata(changed) != content_metadata(TABLE)


def read_whole(study: Root) -> pa.Table:
    (part,) = list_parts(study)
    return read_part(study, part)


def queried(study: Root) -> pa.Table:
    """As SQL reads: filters go by what the footer says of a group of rows, and there is no sum over the values."""
    return snapshot([study]).dataset.to_table(filter=ds.field("epoch") == 2)


@pytest.mark.parametrize("read", [read_whole, queried])
def test_no_flipped_bit_goes_unnoticed_unless_it_changes_nothing(
    tmp_path: Path, read: Callable[[Root], pa.Table]
) -> None:
    root = Root.open(tmp_path)
    with StudyWriter(root, "s") as writer:
        writer.upsert_trial({"trial_id": "t", "status": "running", "student_lr": 0.5})
        for epoch in (1, 2, 3):
            writer.add_epoch({"trial_id": "t", "epoch": epoch, "val_accuracy": epoch / 7})
    study = root.child("s")
    (part,) = list_parts(study)
    path = study.local_path(part.place)
    good, expected = path.read_bytes(), read(study)
    footer = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    noticed = set()
    places = range(0, len(good), 17)
    for place in places:
        path.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        try:
            assert read(study).equals(expected), place
        except (CorruptFileError, StorageError, pa.ArrowException, OSError):
            noticed.add(place)
    assert len(noticed) > len(places) / 2
    # In the footer all are, but for some in the checksum's own entry.
    assert len([place for place in places if place >= footer and place not in noticed]) <= 2


def test_files_from_before_there_were_sums_are_read(tmp_path: Path) -> None:
    root = Root.open(tmp_path)
    with StudyWriter(root, "s") as writer:
        writer.upsert_trial({"trial_id": "t", "status": "running"})
    path = tmp_path / "s" / "trials" / "trials.parquet"
    table = pq.read_table(path)
    sums = {CONTENT_KEY, FOOTER_KEY}
    assert sums <= pq.ParquetFile(path).metadata.metadata.keys()
    kept = {key: value for key, value in table.schema.metadata.items() if key not in sums}
    pq.write_table(table.replace_schema_metadata(kept), path)
    assert read_keyed(root.child("s"), "trials/trials.parquet").num_rows == 1

"""Really damaged files: named, set aside, and rebuilt from what is left."""

import itertools
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_sweep.errors import StorageError
from kd_sweep.storage.root import Root
from kd_sweep.tables.epoch_parts import Part, write_part
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.recovery import _beginnings
from kd_sweep.tables.schema import EPOCHS
from kd_sweep.tables.writer import StudyWriter
from tests.damage import FailingDisk
from tests.latest import latest
from tests.tables.rows import epoch_row, trial_id, trial_row

NUM_EPOCHS = 6


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """Six parts of one epoch each of three trials, as a killed writer leaves them."""
    root = Root.open(tmp_path)
    writer = StudyWriter(root, "s")
    for epoch in range(1, NUM_EPOCHS + 1):
        for number in range(3):
            writer.add_epoch(epoch_row(number, epoch))
            writer.upsert_trial(trial_row(number, last_epoch=epoch))
        writer.flush()
    return root


def damage(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    if kind == "truncated":
        del content[len(content) // 2 :]
    elif kind == "flipped byte":
        content[len(content) // 8] ^= 0xFF  # in the data: a good part of so small a file is its footer
    else:
        content = bytearray()
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["truncated", "flipped byte", "empty"])
@pytest.mark.parametrize("damaged_flush", [1, 4, 6])
def test_a_damaged_part_costs_the_epochs_from_there_on(root: Root, damaged_flush: int, kind: str):
    damage(root.local_path("s", Part(damaged_flush, damaged_flush, 1).path), kind)
    with StudyWriter(root, "s") as writer:
        (aside,) = writer.set_aside
        assert aside.endswith(Part(damaged_flush, damaged_flush, 2).path)
        kept = damaged_flush - 1
        assert writer.last_epochs == ({trial_id(number): kept for number in range(3)} if kept else {})
        assert len(root.files("s/damaged")) == 1
        # The trials' checkpoints bring the rest back.
        for number in range(3):
            for epoch in range(1, NUM_EPOCHS + 1):
                assert writer.add_epoch(epoch_row(number, epoch)) == (epoch > kept)
    table = open_results(root).table("epochs").sort_by([("trial_id", "ascending"), ("epoch", "ascending")])
    expected = [{"study": "s", **epoch_row(number, epoch)} for number in range(3) for epoch in range(1, NUM_EPOCHS + 1)]
    assert table.to_pylist() == sorted(expected, key=lambda row: (row["trial_id"], row["epoch"]))
    assert StudyWriter(root, "s").set_aside == ()


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-1, 4)), max_size=6), min_size=1, max_size=3))
def test_beginnings_are_what_counting_gives(parts: list[list[tuple[str, int]]]):
    schema = pa.schema([("trial_id", pa.string()), ("epoch", pa.int32())])
    tables = [pa.table([[row[column] for row in rows] for column in (0, 1)], schema=schema) for rows in parts]
    keys = [table.set_column(0, "trial_id", table["trial_id"].dictionary_encode()) for table in tables]
    found: dict[str, list[int]] = {}
    for trial, epoch in itertools.chain(*parts):
        found.setdefault(trial, []).append(epoch)
    is_whole = all(sorted(epochs) == list(range(1, len(epochs) + 1)) for epochs in found.values())
    last = {trial: next(n for n in range(9) if n + 1 not in epochs) for trial, epochs in found.items()}
    assert _beginnings(keys) == ({trial: n for trial, n in last.items() if n}, is_whole)


def test_trials_that_lost_nothing_keep_everything(root: Root):
    writer = StudyWriter(root, "s")
    writer.add_epoch(epoch_row(7, 1))
    writer.flush()
    damage(root.local_path("s", "epochs", Part(6, 6, 2).name), "empty")
    writer = StudyWriter(root, "s")
    assert writer.last_epochs == {trial_id(0): 5, trial_id(1): 5, trial_id(2): 5, trial_id(7): 1}
    writer.add_epoch(epoch_row(7, 2))
    writer.close()
    assert StudyWriter(root, "s").last_epochs[trial_id(7)] == 2


def test_rows_that_came_twice_are_kept_once(root: Root):
    table = pa.Table.from_pylist([{"study": "s", **epoch_row(0, 3)}], schema=EPOCHS)
    write_part(root.child("s"), Part(7, 7, 1), table)
    writer = StudyWriter(root, "s")
    assert writer.last_epochs == dict.fromkeys((trial_id(number) for number in range(3)), NUM_EPOCHS)
    assert pq.read_table(root.local_path("s", "epochs")).num_rows == 3 * NUM_EPOCHS
    writer.add_epoch(epoch_row(0, NUM_EPOCHS + 1))
    writer.close()
    assert len(writer.epochs_of(trial_id(0))) == NUM_EPOCHS + 1


@pytest.mark.parametrize("kind", ["truncated", "flipped byte", "empty", "missing"])
def test_damaged_trials_come_back_from_their_copy(root: Root, kind: str):
    rows = StudyWriter(root, "s").trials
    path = latest(root.local_path("s"), "trials/trials.parquet")
    path.unlink() if kind == "missing" else damage(path, kind)
    with StudyWriter(root, "s") as writer:
        assert len(writer.set_aside) == (kind != "missing")
        assert writer.trials == rows
        writer.upsert_trial(trial_row(7))
    assert open_results(root).table("trials").num_rows == 4
    copy, path = (latest(root.local_path("s"), f"{folder}/trials.parquet") for folder in ("copies", "trials"))
    assert copy.read_bytes() == path.read_bytes()


def test_a_copy_is_made_where_there_is_none_or_a_damaged_or_older_one(root: Root):
    def files() -> tuple[Path, Path]:
        study = root.local_path("s")
        return latest(study, "trials/trials.parquet"), latest(study, "copies/trials.parquet")

    older = files()[1].read_bytes()
    with StudyWriter(root, "s") as writer:
        writer.upsert_trial(trial_row(7))
    for content in (None, b"", older):
        path, copy = files()
        copy.unlink()  # it may be a link to what it is a copy of
        if content is not None:
            copy.write_bytes(content)
        assert len(StudyWriter(root, "s").set_aside) == (content == b"")
        path, copy = files()
        assert copy.read_bytes() == path.read_bytes()


def test_trials_without_a_good_copy_are_lost(root: Root):
    damage(latest(root.local_path("s"), "trials/trials.parquet"), "truncated")
    damage(latest(root.local_path("s"), "copies/trials.parquet"), "flipped byte")
    with StudyWriter(root, "s") as writer:
        assert len(writer.set_aside) == 2
        assert writer.trials == {}
        assert writer.last_epochs[trial_id(0)] == NUM_EPOCHS


@pytest.mark.parametrize("name", ["trials/trials-", "epochs/00000002-"])
def test_what_cannot_be_read_just_now_is_left_where_it_is(root: Root, name: str):
    files = {path: path.read_bytes() for path in root.local_path().rglob("*.parquet")}
    disk, root.filesystem = root.filesystem, FailingDisk(name)
    with pytest.raises(StorageError, match=rf"{name}.* cannot be read: Input/output error"):
        StudyWriter(root, "s")
    assert {path: path.read_bytes() for path in root.local_path().rglob("*.parquet")} == files
    root.filesystem = disk
    writer = StudyWriter(root, "s")
    assert writer.set_aside == ()
    assert writer.last_epochs == dict.fromkeys((trial_id(number) for number in range(3)), NUM_EPOCHS)
    assert len(writer.trials) == 3


def test_superseded_parts_and_temporaries_are_removed(root: Root):
    folder = root.local_path("s", "epochs")
    tables = [pq.read_table(folder / Part(n, n, 1).name) for n in (2, 3)]
    write_part(root.child("s"), Part(2, 3, 1), pa.concat_tables(tables))
    (folder.parent / f".{Part(7, 7, 1).name}.0123456789ab.tmp").write_bytes(b"half")
    before = open_results(root).table("epochs").num_rows
    assert before == 3 * NUM_EPOCHS
    writer = StudyWriter(root, "s")
    assert root.files("s/epochs") == [
        part.name for part in (Part(1, 1, 2), Part(2, 3, 2), Part(4, 4, 2), Part(5, 5, 2), Part(6, 6, 2))
    ]
    assert root.files("s") == []
    assert writer.last_epochs[trial_id(0)] == NUM_EPOCHS


def test_a_part_that_is_damaged_while_we_write_stops_merging_and_nothing_else(root: Root):
    writer = StudyWriter(root, "s")
    damage(root.local_path("s", "epochs", Part(2, 2, 2).name), "truncated")
    for epoch in range(NUM_EPOCHS + 1, NUM_EPOCHS + 11):
        for number in range(3):
            writer.add_epoch(epoch_row(number, epoch))
        writer.flush()
    writer.close()
    assert len(root.files("s/epochs")) == NUM_EPOCHS + 10
    again = StudyWriter(root, "s")
    assert again.last_epochs[trial_id(0)] == 1
    assert len(again.set_aside) == 1

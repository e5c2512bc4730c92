import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_sweep.errors import CorruptFileError, StorageError
from kd_sweep.storage.root import Root
from kd_sweep.tables import kept_tables, keyed_table
from kd_sweep.tables.keyed_table import KeyedTable, read_keyed, read_table
from kd_sweep.tables.schema import TEACHERS, TRIALS

NAME = "trials/trials.parquet"


def trials(folder: Path) -> KeyedTable:
    return KeyedTable(Root.open(folder), NAME, TRIALS, "trial_id", extensible=True)


def test_partial_rows_merge_and_none_deletes(tmp_path: Path):
    table = trials(tmp_path)
    table.upsert({"trial_id": "a", "status": "running", "seed": 1})
    table.upsert({"trial_id": "a", "status": "failed", "error": "boom"})
    table.upsert({"trial_id": "a", "error": None})
    table.save()
    (row,) = pq.read_table(tmp_path / NAME).to_pylist()
    assert (row["status"], row["seed"], row["error"]) == ("failed", 1, None)
    assert trials(tmp_path).rows == {"a": {"trial_id": "a", "status": "failed", "seed": 1}}


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        ([1, 2], pa.int64(), [1, 2]),
        ([1, 0.5], pa.float64(), [1.0, 0.5]),
        ([0.5, 1], pa.float64(), [0.5, 1.0]),
        (["kl", "mse"], pa.string(), ["kl", "mse"]),
        ([True, False], pa.bool_(), [True, False]),
        ([1, "a"], pa.string(), ["1", "a"]),
        ([True, "a", 0.5], pa.string(), ["true", "a", "0.5"]),
        ([[1, 2], [3]], pa.string(), ["[1, 2]", "[3]"]),
        ([None, 2], pa.int64(), [None, 2]),
    ],
)
@pytest.mark.parametrize("saved_between", [False, True])
def test_searched_fields_become_columns_of_a_type_that_fits(
    tmp_path: Path, values: list[object], kind: pa.DataType, stored: list[object], saved_between: bool
):
    table = trials(tmp_path)
    for number, value in enumerate(values):
        table.upsert({"trial_id": str(number), "distillation_temperature": value})
        if saved_between:
            table.save()
            table = trials(tmp_path)
    table.save()
    found = pq.read_table(tmp_path / NAME)
    assert found.schema.field("distillation_temperature").type == kind
    assert found["distillation_temperature"].to_pylist() == stored
    assert found.schema.names[: len(TRIALS)] == TRIALS.names


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9), st.booleans()), max_size=40))
def test_saving_part_by_part_equals_a_dict(steps: list[tuple[str, int, bool]]):
    """Oracle: a plain dict. Rows keep the order in which their keys first came."""
    root = Root(pafs._MockFileSystem(), "never-written", "mock://never-written")
    table = KeyedTable(root, NAME, TRIALS, "trial_id", extensible=True)
    expected: dict[str, int] = {}
    for key, value, look in steps:
        table.upsert({"trial_id": key, "seed": value, "student_width": value})
        expected[key] = value
        if look:
            assert table.table()["seed"].to_pylist() == list(expected.values())
    if not steps:
        assert table.table().num_rows == 0
        return
    assert table.table().select(["trial_id", "seed", "student_width"]).to_pylist() == [
        {"trial_id": key, "seed": value, "student_width": value} for key, value in expected.items()
    ]


def test_an_unchanged_table_is_not_written_again(tmp_path: Path):
    table = trials(tmp_path)
    table.upsert({"trial_id": "a", "seed": 1})
    table.save()
    (tmp_path / NAME).unlink()
    table.upsert({"trial_id": "a", "seed": 1})
    table.save()
    assert not (tmp_path / NAME).exists()


def test_what_could_not_be_saved_is_saved_later(tmp_path: Path):
    (tmp_path / "trials").write_text("a file where the folder should be")
    table = KeyedTable(Root.open(tmp_path), NAME, TRIALS, "trial_id")
    table.upsert({"trial_id": "a"})
    with pytest.raises(StorageError):
        table.save()
    (tmp_path / "trials").unlink()
    table.save()
    assert pq.read_table(tmp_path / NAME).num_rows == 1


def test_rows_without_key_or_with_unknown_columns_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="trial_id is missing"):
        trials(tmp_path).upsert({"status": "running"})
    teachers = KeyedTable(Root.open(tmp_path), "t.parquet", TEACHERS, "teacher_id")
    with pytest.raises(ValueError, match="'colour' is not a column"):
        teachers.upsert({"teacher_id": "a", "colour": 1})
    assert teachers.rows == {}


def test_a_damaged_file_is_named(tmp_path: Path):
    table = trials(tmp_path)
    table.upsert({"trial_id": "a"})
    table.save()
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CorruptFileError, match=r"trials/trials\.parquet is damaged: ") as caught:
        trials(tmp_path)
    assert "\n" not in str(caught.value)
    assert read_keyed(Root.open(tmp_path), "no/such.parquet").num_columns == 0


def of_a_study(folder: Path, status: str) -> Root:
    """Return the root of a study whose only trial has this status."""
    root = Root.open(folder)
    table = KeyedTable(root, "trials/trials-00000001.parquet", TRIALS, "trial_id")
    table.upsert({"trial_id": "a", "status": status, "config": "{}"})
    table.save()
    return root


def aged(folder: Path) -> None:
    """Let the file be older than what could be written again without another time."""
    before = time.time() - 60
    os.utime(folder / "trials/trials-00000001.parquet", (before, before))
    time.sleep(2 * kept_tables._SETTLED_S)  # the time of the change itself cannot be set


def test_a_table_is_read_once_for_all_who_ask_until_its_file_is_another(tmp_path: Path, monkeypatch):
    root = of_a_study(tmp_path, "running")
    aged(tmp_path)
    reads = []
    opened = keyed_table._opened
    monkeypatch.setattr(keyed_table, "_opened", lambda *given: reads.append(given[1]) or opened(*given))
    with ThreadPoolExecutor(8) as pool:
        tables = list(pool.map(lambda _: read_table(root, "trials/trials.parquet", is_whole=False), range(8)))
    assert len(reads) == 1
    assert all(table is tables[0] for table in tables)
    assert "config" not in tables[0].column_names
    assert read_table(root, "trials/trials.parquet")["config"].to_pylist() == ["{}"]
    assert len(reads) == 2, "what is large is not kept, and what is kept is not taken for it"
    of_a_study(tmp_path, "completed")
    assert read_table(root, "trials/trials.parquet")["status"].to_pylist() == ["completed"]


def test_a_file_that_was_written_a_moment_ago_is_read_again(tmp_path: Path):
    for status in ("running", "failed", "running", "completed"):
        root = of_a_study(tmp_path, status)
        assert read_table(root, "trials/trials.parquet")["status"].to_pylist() == [status]


def test_a_change_in_place_with_the_old_size_and_time_is_damage(tmp_path: Path):
    root = of_a_study(tmp_path, "running")
    aged(tmp_path)
    read_table(root, "trials/trials.parquet")
    path = tmp_path / "trials/trials-00000001.parquet"
    content, found = bytearray(path.read_bytes()), path.stat()
    content[8] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    with pytest.raises(CorruptFileError):
        read_table(root, "trials/trials.parquet")


def test_a_table_that_is_gone_is_not_there_any_more(tmp_path: Path):
    root = of_a_study(tmp_path, "running")
    aged(tmp_path)
    assert read_table(root, "trials/trials.parquet").num_rows == 1
    (tmp_path / "trials/trials-00000001.parquet").unlink()
    assert read_table(root, "trials/trials.parquet").num_columns == 0


def test_the_tables_that_are_kept_take_little(tmp_path: Path, monkeypatch):
    table = pa.table({"a": range(1000)})
    monkeypatch.setattr(kept_tables, "KEPT_BYTES", int(2.5 * table.nbytes))
    root, kept, reads = Root.open(tmp_path), kept_tables.KeptTables(), []
    for name in "abc":
        (tmp_path / name).touch()
    time.sleep(2 * kept_tables._SETTLED_S)

    def read(name: str, rows: pa.Table = table) -> pa.Table:
        return kept.get(root, name, lambda: reads.append(name) or rows)

    for name in "abcbcac":
        read(name)
    assert reads == ["a", "b", "c", "a"]
    large = pa.concat_tables([table] * 3)
    assert [read("b", large).num_rows for _ in range(2)] == [3000, 3000]
    assert reads[4:] == ["b", "b"]


def test_a_table_in_an_object_store_is_read_each_time():
    filesystem = pafs._MockFileSystem()
    root, reads = Root(filesystem, "bucket", "mock://bucket"), []
    kept = kept_tables.KeptTables()
    for _ in range(2):
        kept.get(root, "a", lambda: reads.append(1) or pa.table({}))
    assert len(reads) == 2

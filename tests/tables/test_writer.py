import contextlib
import errno
import json
import math
import os
import time
import tracemalloc
from pathlib import Path

import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from kd_sweep.errors import StorageError, StudyLockedError
from kd_sweep.storage.lease_holder import DRIVER_LEASE
from kd_sweep.storage.root import Root
from kd_sweep.storage.terms import Claim, claim_name
from kd_sweep.tables.keyed_table import KeyedTable
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.study_lease import study_lease
from kd_sweep.tables.writer import StudyWriter
from tests.tables.rows import FINISHED_AT, epoch_row, trial_id, trial_row, write_study


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root.open(tmp_path)


def epochs_on_disk(root: Root, study: str = "s") -> list[tuple[str, int]]:
    table = pq.read_table(root.local_path(study, "epochs"), columns=["trial_id", "epoch"])
    return sorted(zip(table["trial_id"].to_pylist(), table["epoch"].to_pylist(), strict=True))


def test_every_epoch_lands_once_with_its_values(tmp_path: Path):
    written = write_study(tmp_path, num_trials=5, num_epochs=20)
    found = open_results(tmp_path).table("epochs").sort_by([("epoch", "ascending"), ("trial_id", "ascending")])
    expected = sorted(written, key=lambda row: (row["epoch"], row["trial_id"]))
    assert found.to_pylist() == [{"study": "digits", **row} for row in expected]
    assert len(list((tmp_path / "digits" / "epochs").iterdir())) == 1


def test_an_epoch_comes_once_and_in_order(root: Root):
    writer = StudyWriter(root, "s")
    assert writer.add_epoch(epoch_row(1, 1))
    assert not writer.add_epoch(epoch_row(1, 1, val_accuracy=0.0))
    with pytest.raises(ValueError, match="epoch 3 came after epoch 1; 2 is missing"):
        writer.add_epoch(epoch_row(1, 3))
    with pytest.raises(ValueError, match="epoch 2 came after epoch 0"):
        writer.add_epoch(epoch_row(2, 2))
    with pytest.raises(ValueError, match="needs a trial_id and an epoch from 1"):
        writer.add_epoch(epoch_row(2, 0))
    assert writer.add_epoch(epoch_row(1, 2))
    assert writer.last_epochs == {trial_id(1): 2}
    writer.close()
    assert [row["val_accuracy"] for row in writer.epochs_of(trial_id(1))] == [
        epoch_row(1, epoch)["val_accuracy"] for epoch in (1, 2)
    ]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_is_never_a_result(root: Root, value: float):
    with StudyWriter(root, "s") as writer:
        with pytest.raises(ValueError, match=r"train_loss: .* is not a finite number"):
            writer.add_epoch(epoch_row(1, 1, train_loss=value))
        with pytest.raises(ValueError, match=r"objective: .* is not a finite number"):
            writer.upsert_trial(trial_row(1, objective=value))
        assert writer.last_epochs == {}
        assert writer.trials == {}
        assert not writer.has_unflushed


def test_the_callers_row_may_change_afterwards(root: Root):
    row = epoch_row(1, 1)
    with StudyWriter(root, "s") as writer:
        writer.add_epoch(row)
        row["epoch"] = 99
    assert epochs_on_disk(root) == [(trial_id(1), 1)]


def test_a_new_writer_goes_on_where_the_last_one_ended(root: Root):
    for epoch in range(1, 11):
        with StudyWriter(root, "s") as writer:
            assert writer.last_epochs == ({trial_id(1): epoch - 1} if epoch > 1 else {})
            assert writer.trials.get(trial_id(1), {}).get("attempts") == (epoch - 1 or None)
            writer.add_epoch(epoch_row(1, epoch))
            writer.upsert_trial({"trial_id": trial_id(1), "attempts": epoch, "started_at": FINISHED_AT})
    assert epochs_on_disk(root) == [(trial_id(1), epoch) for epoch in range(1, 11)]
    assert writer.trials[trial_id(1)]["started_at"] == FINISHED_AT


def test_flushes_come_by_time(root: Root):
    writer = StudyWriter(root, "s", flush_s=0.2)
    writer.add_epoch(epoch_row(1, 1))
    assert not writer.maybe_flush()
    assert not root.files("s/epochs")
    time.sleep(0.25)
    assert writer.maybe_flush()
    assert epochs_on_disk(root) == [(trial_id(1), 1)]
    time.sleep(0.25)
    assert not writer.maybe_flush()  # Nothing new.
    assert len(root.files("s/epochs")) == 1


def test_what_takes_long_is_written_more_rarely_and_epochs_go_on(root: Root, monkeypatch: pytest.MonkeyPatch):
    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    clock, save = Clock(), KeyedTable.save

    def slow(table: KeyedTable) -> None:
        save(table)
        clock.now += 0.18

    monkeypatch.setattr("kd_sweep.tables.writer.time", clock)
    seen = []
    writer = StudyWriter(root, "s", flush_s=5.0)
    monkeypatch.setattr(KeyedTable, "save", slow)
    for epoch in range(1, 13):
        writer.add_epoch(epoch_row(1, epoch))
        writer.upsert_trial({"trial_id": trial_id(1), "last_epoch": epoch})
        clock.now += 1.0
        assert writer.maybe_flush()
        stated = open_results(root.local_path("s")).table("trials")["last_epoch"].to_pylist()
        seen.append((len(epochs_on_disk(root)), stated[0] if stated else 0))
    assert [epochs for epochs, _ in seen] == list(range(1, 13))  # every second
    assert sorted({stated for _, stated in seen}) == [1, 5, 9]  # what takes 0.18 s comes after 3.6 s


def test_flushed_and_buffered_epochs_are_one_trial(root: Root):
    writer = StudyWriter(root, "s")
    for number in (1, 2):
        for epoch in (1, 2):
            writer.add_epoch(epoch_row(number, epoch))
            writer.flush()
        writer.add_epoch(epoch_row(number, 3))
    rows = writer.epochs_of(trial_id(1))
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    expected = {name: value for name, value in epoch_row(1, 3).items() if value is not None}
    assert rows[2] == {"study": "s", **expected}
    assert writer.epochs_of("unknown") == []
    table = writer.epochs_table(["trial_id", "epoch", "ece"])
    assert table.column_names == ["trial_id", "epoch", "ece"]
    keys = list(zip(table["trial_id"].to_pylist(), table["epoch"].to_pylist(), strict=True))
    assert keys == sorted((trial_id(number), epoch) for number in (1, 2) for epoch in (1, 2, 3))


def test_a_study_has_one_row(root: Root):
    with StudyWriter(root, "s") as writer:
        writer.set_study(sampler="grid", status="running", num_planned=9)
    with StudyWriter(root, "s") as writer:
        writer.set_study(status="completed")
        writer.upsert_teacher({"teacher_id": "t", "val_accuracy": 0.9, "member": 1})
    (row,) = open_results(root).table("studies").to_pylist()
    assert (row["study"], row["sampler"], row["status"], row["num_planned"]) == ("s", "grid", "completed", 9)
    assert row["created_at"] < row["updated_at"]
    assert open_results(root).table("teachers")["study"].to_pylist() == ["s"]


def test_many_flushes_make_few_files(root: Root):
    with StudyWriter(root, "s") as writer:
        for epoch in range(1, 101):
            writer.add_epoch(epoch_row(1, epoch))
            writer.flush()
        assert len(root.files("s/epochs")) < 25
        assert epochs_on_disk(root) == [(trial_id(1), epoch) for epoch in range(1, 101)]
    assert len(root.files("s/epochs")) == 1


def test_memory_does_not_grow_with_the_epochs_on_disk(root: Root):
    writer = StudyWriter(root, "s")
    row = epoch_row(1, 1)

    def write(first: int, last: int) -> int:
        for epoch in range(first, last + 1):
            for number in range(10):
                writer.add_epoch(row | {"trial_id": trial_id(number), "epoch": epoch})
            if epoch % 50 == 0:
                writer.flush()
        return tracemalloc.get_traced_memory()[0]

    write(1, 100)
    tracemalloc.start()
    try:
        before = write(101, 200)
        after = write(201, 500)
    finally:
        tracemalloc.stop()
    # 3,000 more rows, of at least 1 kB each as dicts.
    assert after - before < 500_000


def test_an_epoch_costs_no_more_than_its_row_as_text(root: Root):
    writer = StudyWriter(root, "s")
    rows = [epoch_row(number, 1) for number in range(1_000)]
    of_writer, of_text = math.inf, math.inf
    for epoch in range(1, 6):
        began = time.process_time()
        for row in rows:
            row["epoch"] = epoch
            writer.add_epoch(row)
        added = time.process_time()
        for row in rows:
            json.dumps(row, default=str)
        of_writer, of_text = min(of_writer, added - began), min(of_text, time.process_time() - added)
    assert of_writer < 1.5 * of_text  # about 0.4 of it


def test_a_failed_flush_loses_nothing(root: Root):
    writer = StudyWriter(root, "s")
    writer.add_epoch(epoch_row(1, 1))
    writer.upsert_trial(trial_row(1))
    root.write_bytes("s/epochs", b"a file where the folder should be")
    with pytest.raises(StorageError, match=r"s/epochs/.* cannot be written: "):
        writer.flush()
    writer.add_epoch(epoch_row(1, 2))
    root.delete("s/epochs")
    writer.flush()
    assert epochs_on_disk(root) == [(trial_id(1), 1), (trial_id(1), 2)]
    assert open_results(root).table("trials").num_rows == 1


def test_a_writer_that_lost_its_lease_writes_nothing(root: Root):
    root.ensure_folder("s")
    lease = study_lease(root.child("s"), "s", lease_s=0.2)
    writer = StudyWriter(root, "s", lease=lease)
    writer.add_epoch(epoch_row(1, 1))
    with contextlib.suppress(StudyLockedError):
        for _ in range(100):  # a renewal that is under way writes the file anew
            root.delete(f"s/{claim_name(DRIVER_LEASE, Claim(lease.term, lease.holder.token))}")
            lease.check(afresh=True)
    with pytest.raises(StudyLockedError, match="taken over"):
        writer.flush()
    with pytest.raises(StudyLockedError):
        StudyWriter(root, "s", lease=lease)
    assert root.folders("s") == ["study"]  # as it was begun


def test_a_list_per_class_goes_through_merges_and_every_reader(root: Root):
    for epoch in range(1, 10):
        with StudyWriter(root, "s") as writer:
            writer.upsert_trial(trial_row(1))
            writer.add_epoch(epoch_row(1, epoch, fidelity_per_class_val=[0.5, None, epoch / 16]))
            with pytest.raises(ValueError, match=r"fidelity_per_class_val: nan is not a finite number"):
                writer.add_epoch(epoch_row(2, 1, fidelity_per_class_val=[math.nan]))
            with pytest.raises(ValueError, match=r"fidelity_per_class_val: 0.5 is not a list"):
                writer.add_epoch(epoch_row(2, 1, fidelity_per_class_val=0.5))
    expected = [[0.5, None, epoch / 16] for epoch in range(1, 10)]
    assert sorted(
        row["fidelity_per_class_val"][2] for row in pq.read_table(root.local_path("s/epochs")).to_pylist()
    ) == [values[2] for values in expected]
    results = open_results(root)
    assert results.table("epochs").sort_by("epoch")["fidelity_per_class_val"].to_pylist() == expected
    worst = results.sql("SELECT epoch, unnest(fidelity_per_class_val) AS f FROM epochs ORDER BY f LIMIT 1").to_pylist()
    assert worst == [{"epoch": 1, "f": 1 / 16}]
    with StudyWriter(root, "s") as writer:
        assert [row["fidelity_per_class_val"] for row in writer.epochs_of(trial_id(1))] == expected


class BusyDisk(pafs.LocalFileSystem):
    """Refuses the first deletions, as a share does while another client has the file open."""

    refusals = 3

    def delete_file(self, path: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        super().delete_file(path)


def test_deletions_that_fail_are_made_up_for_and_merging_goes_on(tmp_path: Path):
    root = Root(BusyDisk(), str(tmp_path), str(tmp_path))
    with StudyWriter(root, "s") as writer:
        for epoch in range(1, 101):
            writer.add_epoch(epoch_row(1, epoch))
            writer.flush()
            writer.upsert_trial(trial_row(1, last_epoch=epoch))
        assert len(root.files("s/epochs")) < 25
    assert epochs_on_disk(root) == [(trial_id(1), epoch) for epoch in range(1, 101)]
    assert len(root.files("s/epochs")) == 1

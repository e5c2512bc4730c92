"""A driver that was suspended at any of its file operations, and lost its lease meanwhile, changes nothing."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.study_lease import study_lease
from kd_sweep.tables.writer import StudyWriter
from tests.object_store import BUCKET, object_server, settings
from tests.tables.rows import metric_value
from tests.tables.suspended import SECOND, STUDY, Ended, extend, start, wait_until_suspended

SUCCESSORS = ("lives", "died", "finished")
FLUSHES = 3
MOST_OPERATIONS = 2_000


@cache
def begun() -> tempfile.TemporaryDirectory[str]:
    """A root with seven flushes, so that the next one merges; made once."""
    folder = tempfile.TemporaryDirectory()
    write_seven(folder.name)
    return folder


def begin(location: str) -> None:
    """Leave seven flushes behind."""
    if "://" in location:
        write_seven(location)
    else:
        shutil.copytree(begun().name, location)


def write_seven(location: str) -> None:
    writer = StudyWriter(Root.open(location), STUDY)
    for _ in range(7):
        extend(writer, "before", "running")
        writer.flush()


def check(location: str, ours: dict[str, int], *, is_newest: bool) -> None:
    """Every epoch is there once, with its value, the second driver's with its host; so is all else that it wrote."""
    results = open_results(location)
    found: dict[str, list[int]] = {}
    for row in results.table("epochs").to_pylist():
        found.setdefault(row["trial_id"], []).append(row["epoch"])
        assert row["val_accuracy"] == metric_value(row["trial_id"], row["epoch"], "val_accuracy")
        if ours[row["trial_id"]] - FLUSHES < row["epoch"] <= ours[row["trial_id"]]:
            assert row["host"] == SECOND
    assert found.keys() == ours.keys()
    for trial, epochs in found.items():
        assert sorted(epochs) == list(range(1, len(epochs) + 1))
        assert len(epochs) == ours[trial] if is_newest else len(epochs) >= ours[trial]
    trials = results.table("trials").to_pylist()
    assert {row["trial_id"] for row in trials} == ours.keys()
    for row in trials:
        assert row["last_epoch"] == len(found[row["trial_id"]])
        assert row["host"] == SECOND or not is_newest
    assert SECOND in results.table("teachers")["teacher_id"].to_pylist()
    (study,) = results.table("studies").to_pylist()
    assert study["status"] == "completed" or not is_newest


def take_over(location: str, stop_at: int, lease_s: float, *, of_heartbeat: bool = False) -> Ended | None:
    """Suspend a driver before an operation, let a second one write, let the first go on; None where it has no such."""
    successor = SUCCESSORS[stop_at % len(SUCCESSORS)]
    first, heard = start(location, lease_s, stop_at, of_heartbeat)
    try:
        if not wait_until_suspended(first, heard):
            return None
        root = Root.open(location)
        lease = study_lease(root.child(STUDY), STUDY, lease_s=lease_s, wait=True, timeout_s=60)
        writer = StudyWriter(root, STUDY, lease=lease)
        for _ in range(FLUSHES):
            extend(writer, SECOND, "completed")
            writer.flush()
        ours = dict(writer.last_epochs)
        if successor == "finished":
            writer.close()
            lease.release()
        elif successor == "died":
            lease._ended.set()
        check(location, ours, is_newest=True)
        ended = let_go_on(first, heard)
        is_newest = ended.term < lease.term
        check(location, ours, is_newest=is_newest)
        if successor == "lives":
            extend(writer, SECOND, "completed")
            writer.close()
            ours = dict(writer.last_epochs)
            check(location, ours, is_newest=True)
        lease.release()
        StudyWriter(root, STUDY)  # whoever comes next finds the same
        check(location, ours, is_newest=is_newest)
    finally:
        first.kill()
        first.join(60)
    if is_newest:
        names = [name for name, _ in ended.steps]
        after = ended.steps[names.index(ended.stopped_in) + names.count(ended.stopped_in) :]
        assert all(outcome == "locked" for name, outcome in after if name != "release"), ended
    return ended


def let_go_on(suspended: BaseProcess, heard: Connection) -> Ended:
    """Return what a driver that was suspended tells of its end."""
    assert suspended.pid is not None
    os.kill(suspended.pid, signal.SIGCONT)
    assert heard.poll(120)
    ended: Ended = heard.recv()
    suspended.join(60)
    return ended


def take_over_again_and_again(
    location: str, stops: Iterable[int], lease_s: float, *, of_heartbeat: bool = False
) -> set[str]:
    """Do so for these operations, as far as there are so many.

    Returns:
        The names of the steps in which the first driver was suspended.
    """
    seen = set()
    for stop_at in stops:
        where = f"{location}/{stop_at}"
        begin(where)
        ended = take_over(where, stop_at, lease_s, of_heartbeat=of_heartbeat)
        if ended is None:
            break
        seen.add(ended.stopped_in)
        check_plainly(where)
    return seen


def check_plainly(location: str) -> None:
    """A reader that knows nothing of terms finds each epoch once: what came too late was taken back."""
    if "://" in location:
        return
    keys = pq.read_table(Path(location) / STUDY / "epochs", columns=["trial_id", "epoch"])
    assert keys.group_by(["trial_id", "epoch"]).aggregate([]).num_rows == keys.num_rows
    for name in ("trials", "teachers", "study"):
        assert len(list((Path(location) / STUDY / name).iterdir())) == 1


STEPS = {"take", "begin", "flush", "close", "release"}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", [5, *(pytest.param(first, marks=pytest.mark.long) for first in (1, 2, 3, 4, 6, 7))])
def test_a_driver_suspended_at_each_seventh_file_operation(tmp_path: Path, first: int) -> None:
    """And at one that takes the lease: the first three do."""
    stops = [2] * (first == 5) + list(range(first, MOST_OPERATIONS, 7))  # 3 does not divide it: each kind of successor
    steps = STEPS if first == 5 else {"begin", "flush", "close"}  # the others are shorter than the stride
    assert take_over_again_and_again(str(tmp_path), stops, lease_s=0.3) >= steps


@pytest.mark.slow
def test_a_driver_suspended_while_it_renews_its_lease(tmp_path: Path) -> None:
    for stop_at in range(1, 10):
        where = str(tmp_path / str(stop_at))
        begin(where)
        assert take_over(where, stop_at, lease_s=0.3, of_heartbeat=True) is not None


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("moto.server", reason="moto is not installed")
    with object_server() as address:
        for name, value in settings(*address).items():
            monkeypatch.setenv(name, value)
        yield f"s3://{BUCKET}/fencing"


@pytest.mark.slow
def test_a_driver_suspended_at_some_operations_on_an_object_store(store: str) -> None:
    """In each of these steps once, with each kind of successor once."""
    stops = (30, 76, 98)
    assert {stop % len(SUCCESSORS) for stop in stops} == {0, 1, 2}
    assert take_over_again_and_again(store, stops, lease_s=1.0) == {"begin", "flush", "close"}


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("first", range(1, 5))
def test_a_driver_suspended_at_every_operation_on_an_object_store(store: str, first: int) -> None:
    assert take_over_again_and_again(store, range(first, MOST_OPERATIONS, 4), lease_s=1.0) >= {
        "begin",
        "flush",
        "close",
    }

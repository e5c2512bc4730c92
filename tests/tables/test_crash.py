"""SIGKILL of the writer before any of its file operations, or any time: nothing flushed is lost, nothing doubled."""

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.writer import StudyWriter
from tests.tables.rows import epoch_row, metric_value, trial_id, trial_row
from tests.warm_python import warm_with

FOREVER = 1_000_000
FRESH = warm_with(__name__)
"""Gives each writer a process of its own that has imported all it needs: a hundred of them take seconds."""


def write(folder: Path, kill_at: int, num_flushes: int, said: Connection) -> None:
    """Flush again and again and say which epoch is safe; be killed before this file operation, 0: before none."""
    operations = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal operations
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if is_write or event in ("os.rename", "os.remove", "os.mkdir", "delete"):
            operations += 1
            if operations == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    delete = Root.delete

    def counted_delete(self: Root, name: str) -> None:
        count("delete", ())
        delete(self, name)

    Root.delete = counted_delete  # type: ignore[method-assign]
    with StudyWriter(Root.open(folder), "s") as writer:
        sys.addaudithook(count)
        said.send(0)
        for _ in range(num_flushes):
            for number in range(3):
                epoch = writer.last_epochs.get(trial_id(number), 0) + 1
                writer.add_epoch(epoch_row(number, epoch))
                writer.upsert_trial(trial_row(number, last_epoch=epoch))
            writer.flush()
            said.send(epoch)


def start(folder: Path, kill_at: int, num_flushes: int) -> tuple[BaseProcess, Connection]:
    heard, said = FRESH.Pipe(duplex=False)
    writer = FRESH.Process(target=write, args=(folder, kill_at, num_flushes, said))
    writer.start()
    said.close()
    return writer, heard


def everything(heard: Connection) -> Iterator[int]:
    """Yield what the writer says until it has gone."""
    while heard.poll(60):
        try:
            yield heard.recv()
        except EOFError:
            return
    raise TimeoutError


def check(folder: Path, acknowledged: int) -> int:
    """Every trial has epochs 1…n once, with their values; n is at least what was flushed. Return the least n."""
    if not list((folder / "s" / "trials").glob("*")):
        return 0
    results = open_results(folder)
    table = results.table("epochs").select(["trial_id", "epoch", "val_accuracy"])
    epochs: dict[str, list[int]] = {}
    for row in table.to_pylist():
        epochs.setdefault(row["trial_id"], []).append(row["epoch"])
        assert row["val_accuracy"] == metric_value(row["trial_id"], row["epoch"], "val_accuracy")
    for found in epochs.values():
        assert sorted(found) == list(range(1, len(found) + 1))
    least = min((len(epochs.get(trial_id(number), ())) for number in range(3)), default=0)
    assert least >= acknowledged
    ahead = results.sql(
        "SELECT trial_id FROM trials t WHERE last_epoch > (SELECT count(*) FROM epochs e WHERE e.trial_id = t.trial_id)"
    )
    assert ahead.num_rows == 0
    assert all(path.suffix == ".parquet" for path in (folder / "s" / "epochs").iterdir())
    return least


def finish(folder: Path) -> None:
    with StudyWriter(Root.open(folder), "s") as writer:
        assert writer.set_aside == ()
        assert len(set(writer.last_epochs.values())) == 1
    assert not [path.name for path in (folder / "s").iterdir() if path.is_file()]
    assert len(list((folder / "s" / "epochs").iterdir())) == 1
    assert pq.read_table(folder / "s" / "epochs").num_rows == sum(writer.last_epochs.values())


@pytest.mark.parametrize("first", [1, *(pytest.param(first, marks=pytest.mark.long) for first in (2, 3, 4))])
def test_a_kill_before_each_fourth_file_operation(first: int, tmp_path: Path):
    done = 0
    for operation in range(first, 81, 4):
        writer, heard = start(tmp_path, operation, num_flushes=20)
        done = max([done, *everything(heard)])
        writer.join(60)
        assert writer.exitcode == -signal.SIGKILL
        done = check(tmp_path, done)
    finish(tmp_path)


@pytest.mark.slow
def test_kills_at_random_times(tmp_path: Path):
    done = num_kills = 0
    chosen = random.Random(0)
    while num_kills < 12 or done <= 50:
        writer, heard = start(tmp_path, 0, FOREVER)
        assert heard.recv() == 0
        time.sleep(chosen.uniform(0.0, 0.5))
        writer.kill()
        done = check(tmp_path, max([done, *everything(heard)]))
        writer.join(60)
        num_kills += 1
    finish(tmp_path)

"""SIGKILL of the writer before any of its file operations, or any time: nothing flushed is lost, nothing doubled."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kd_sweep.results.reader import open_results
from kd_sweep.results.storage import Root
from kd_sweep.results.writer import StudyWriter
from tests.results.rows import metric_value, trial_id

WRITER = """
import os, signal, sys
from kd_sweep.results.storage import Root
from kd_sweep.results.writer import StudyWriter
from tests.results.rows import epoch_row, trial_id, trial_row

folder, kill_at = sys.argv[1], int(sys.argv[2])
operations = 0

def count(event, arguments):
    global operations
    is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if is_write or event in ("os.rename", "os.remove", "os.mkdir", "delete"):
        operations += 1
        if operations == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

delete = Root.delete
def counted_delete(self, name):
    count("delete", ())
    delete(self, name)
Root.delete = counted_delete

def work(num_flushes):
    with StudyWriter(Root.open(folder), "s") as writer:
        sys.addaudithook(count)
        print("open", flush=True)
        for _ in range(num_flushes):
            for number in range(3):
                epoch = writer.last_epochs.get(trial_id(number), 0) + 1
                writer.add_epoch(epoch_row(number, epoch))
                writer.upsert_trial(trial_row(number, last_epoch=epoch))
            writer.flush()
            print(epoch, flush=True)

work(20 if kill_at else 1_000_000)
"""


def start(folder: Path, kill_at: int) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", WRITER, str(folder), str(kill_at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)


def check(folder: Path, acknowledged: int) -> int:
    """Every trial has epochs 1…n once, with their values; n is at least what was flushed. Return the least n."""
    if not (folder / "s" / "trials" / "trials.parquet").exists():
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


def acknowledged_by(output: str, before: int) -> int:
    return max([before, *(int(line) for line in output.splitlines() if line.isdigit())])


def finish(folder: Path) -> None:
    with StudyWriter(Root.open(folder), "s") as writer:
        assert writer.set_aside == ()
        assert len(set(writer.last_epochs.values())) == 1
    assert not [path.name for path in (folder / "s").iterdir() if path.is_file()]
    assert len(list((folder / "s" / "epochs").iterdir())) == 1
    assert pq.read_table(folder / "s" / "epochs").num_rows == sum(writer.last_epochs.values())


def kill_before(folder: Path, operations: list[int]) -> None:
    done = 0
    for operation in operations:
        writer = start(folder, operation)
        output, _ = writer.communicate(timeout=60)
        assert writer.returncode == -9
        done = check(folder, acknowledged_by(output, done))
    finish(folder)


def test_a_kill_before_some_file_operations(tmp_path: Path):
    kill_before(tmp_path, sorted(random.Random(5).sample(range(1, 75), 7)))


@pytest.mark.slow
def test_a_kill_before_every_second_file_operation(tmp_path: Path):
    kill_before(tmp_path, list(range(1, 81, 2)))


@pytest.mark.slow
def test_kills_at_random_times(tmp_path: Path):
    done = 0
    for seed in range(12):
        writer = start(tmp_path, 0)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        time.sleep(random.Random(seed).uniform(0.0, 0.5))
        writer.kill()
        output, _ = writer.communicate()
        done = check(tmp_path, acknowledged_by(output, done))
    assert done > 50
    finish(tmp_path)

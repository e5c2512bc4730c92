"""A reader beside writers that flush, merge and take over from each other a hundred times faster than real ones."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from kd_sweep.tables.reader import open_results

WRITER = """
import sys
from kd_sweep.storage.root import Root
from kd_sweep.tables.writer import StudyWriter
from tests.tables.rows import epoch_row, trial_row
for epoch in range(1, 1_000_000):
    if epoch % int(sys.argv[2]) == 1:
        writer = StudyWriter(Root.open(sys.argv[1]), "s")
    for number in range(4):
        row = epoch_row(number, epoch)
        writer.add_epoch(row)
        writer.upsert_trial(trial_row(number, last_epoch=epoch, ece=row["ece"]))
    writer.flush()
    if epoch == 1:
        print("ready", flush=True)
"""

COUNTS = """
    SELECT t.trial_id, t.last_epoch, count(*) AS n, count(DISTINCT epoch) AS num_epochs, max(epoch) AS last
    FROM trials t JOIN epochs e USING (study, trial_id) GROUP BY t.trial_id, t.last_epoch
"""


@pytest.fixture(params=[1_000_000, 4], ids=["one writer", "a writer for every four flushes"])
def busy_study(request: pytest.FixtureRequest, tmp_path: Path):
    command = [sys.executable, "-c", WRITER, str(tmp_path), str(request.param)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    yield tmp_path
    assert writer.poll() is None
    writer.kill()
    writer.communicate()


def test_no_duplicates_gaps_or_errors(busy_study: Path):
    results = open_results(busy_study)
    seen = 0
    num_reads, sizes = 0, set()
    begin = time.monotonic()
    while (elapsed_s := time.monotonic() - begin) < 4 or (min(num_reads, seen) <= 10 and elapsed_s < 60):
        rows = results.sql(COUNTS).to_pylist()
        assert len(rows) == 4
        for row in rows:
            assert row["n"] == row["num_epochs"] == row["last"] >= row["last_epoch"]
        # What was seen stays, and all four trials move together: a flush is seen whole.
        assert len({row["n"] for row in rows}) == 1
        assert rows[0]["n"] >= seen
        seen = rows[0]["n"]
        table = results.table("epochs")
        assert table.num_rows % 4 == 0
        assert table.num_rows >= 4 * seen
        assert table.group_by(["trial_id", "epoch"]).aggregate([]).num_rows == table.num_rows
        num_reads += 1
        sizes.add(len(list((busy_study / "s" / "epochs").iterdir())))
    assert num_reads > 10
    assert seen > 10
    assert len(sizes) > 3  # Merges happened meanwhile.


def test_status_beside_a_writer(busy_study: Path):
    results = open_results(busy_study)
    for _ in range(20):
        (status,) = results.status()
        assert status["num_trials"] == 4
        assert status["num_epochs"] % 4 == 0

"""Progress and timeline against what was written."""

import datetime
import itertools
from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from kd_sweep.storage.root import Root
from kd_sweep.tables.queries.named_queries import answer
from kd_sweep.tables.queries.named_query import remarks_of
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.study_lease import study_lease
from kd_sweep.tables.writer import StudyWriter
from tests.tables.queries.views.viewed_studies import parquet
from tests.tables.rows import trial_row

NOON = datetime.datetime(2026, 3, 4, 12, tzinfo=datetime.UTC)


def epoch(trial: str, number: int, ended_s: float, host: str | None = "a", attempt: int = 1, pid: int = 1) -> dict:
    """Return an epoch of 10 s that ended so long after noon."""
    ended = NOON + timedelta(seconds=ended_s)
    return {
        "trial_id": trial, "epoch": number, "epoch_s": 10.0, "finished_at": ended,
        "host": host, "pid": pid, "attempt": attempt,
    }  # fmt: skip


def test_progress_counts_epochs_trials_and_time(tmp_path: Path):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        writer.set_study(num_planned=10, status="running")
        for number, (status, last) in enumerate([("completed", 4), ("completed", 4), ("stopped", 1), ("failed", 2)]):
            writer.upsert_trial(trial_row(number, status, last_epoch=last, train_s=last * 10.0))
        writer.upsert_teacher({"teacher_id": "t", "train_s": 7.0})
        writer.upsert_teacher({"teacher_id": "u", "train_s": 8.0})
    (row,) = answer(open_results(tmp_path), "progress").to_pylist()
    assert (row["study"], row["num_planned"], row["num_trials"]) == ("s", 10, 4)
    assert (row["num_completed"], row["num_stopped"], row["num_failed"], row["num_running"]) == (2, 1, 1, 0)
    assert (row["num_epochs"], row["num_epochs_planned"]) == (11, 4 + 4 + 1 + 4 + 6 * 4)
    assert (row["train_s"], row["num_teachers"], row["teachers_train_s"]) == (110.0, 2, 15.0)
    assert (row["mean_trial_s"], row["remaining_s"], row["driver_alive"]) == (40.0, None, False)


def test_the_time_left_follows_from_the_columns_beside_it(tmp_path: Path):
    root = Root.open(tmp_path)
    with study_lease(root.child("s"), "s") as lease, StudyWriter(root, "s", lease=lease) as writer:
        writer.set_study(num_planned=6, status="running")
        for number in range(2):
            writer.upsert_trial(trial_row(number, "completed", last_epoch=4, train_s=20.0 + 40 * number))
        for number in (2, 3):
            writer.upsert_trial(trial_row(number, "running", last_epoch=number - 1, train_s=1.0))
        writer.flush()
        (row,) = answer(open_results(tmp_path), "progress").to_pylist()
    assert row["driver_alive"]
    assert row["remaining_s"] == pytest.approx(40.0 * (2 + 3 / 4 + 2 / 4) / 2)


def test_a_study_that_has_only_begun_has_no_epochs_planned(tmp_path: Path):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        writer.set_study(num_planned=10, status="running")
    (row,) = answer(open_results(tmp_path), "progress").to_pylist()
    assert (row["num_trials"], row["num_epochs"], row["num_epochs_planned"]) == (0, 0, None)


def test_a_timeline_has_attempts_and_teachers_in_slots(tmp_path: Path):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        writer.upsert_teacher({"teacher_id": "t", "member": 2, "host": "a", "train_s": 30.0, "finished_at": NOON})
        writer.upsert_trial(trial_row(1, "completed", trial_id="x", attempts=2, started_at=NOON))
        writer.upsert_trial(trial_row(1, "completed", trial_id="y", attempts=1, started_at=NOON, finished_at=NOON))
        writer.upsert_trial(trial_row(1, "failed", trial_id="z", attempts=1, started_at=NOON, finished_at=NOON))
        writer.add_epoch(epoch("x", 1, 10))
        writer.add_epoch(epoch("x", 2, 20))
        writer.add_epoch(epoch("x", 3, 50, host=None, attempt=2))
        writer.add_epoch(epoch("x", 4, 60, host="b", attempt=2))
        writer.add_epoch(epoch("y", 1, 15))
        writer.add_epoch(epoch("y", 2, 35))
    found = answer(open_results(tmp_path), "timeline").to_pylist()
    shown = [
        (
            row["id"], row["attempt"], row["host"], row["slot"], row["num_epochs"],
            (row["began_at"] - NOON).total_seconds(), (row["ended_at"] - NOON).total_seconds(),
        )
        for row in found
    ]  # fmt: skip
    assert shown == [
        ("t", None, "a", 1, None, -30, 0),
        ("x", 1, "a", 1, 2, 0, 20),
        ("z", 1, None, 1, 0, 0, 0),
        ("y", 1, "a", 2, 2, 5, 35),
        ("x", 2, "b", 1, 1, 50, 60),
    ]
    assert [row["member"] for row in found] == [2, None, None, None, None]
    late = answer(open_results(tmp_path), "timeline", {"since": "2026-03-04T12:00:30"}).to_pylist()
    assert [row["id"] for row in late] == ["y", "x"]
    early = answer(open_results(tmp_path), "timeline", {"until": "2026-03-04T11:59:50"}).to_pylist()
    assert [row["id"] for row in early] == ["t"]


def test_a_teacher_of_two_studies_has_one_slot(tmp_path: Path):
    for study in ("a", "b"):
        with StudyWriter(Root.open(tmp_path), study) as writer:
            for name in ("t", "u"):
                writer.upsert_teacher({"teacher_id": name, "host": "a", "train_s": 30.0, "finished_at": NOON})
    found = answer(open_results(tmp_path), "timeline").to_pylist()
    slots = {(row["study"], row["id"]): row["slot"] for row in found}
    assert slots == {("a", "t"): 1, ("b", "t"): 1, ("a", "u"): 2, ("b", "u"): 2}


def test_what_runs_has_no_end(tmp_path: Path):
    root = Root.open(tmp_path)
    with study_lease(root.child("s"), "s") as lease, StudyWriter(root, "s", lease=lease) as writer:
        writer.upsert_trial(trial_row(1, "running", trial_id="x", attempts=2, started_at=NOON))
        writer.upsert_trial(trial_row(1, "running", trial_id="y", attempts=1, started_at=NOON))
        writer.add_epoch(epoch("x", 1, 10))
        writer.add_epoch(epoch("x", 2, 40, attempt=2))
        writer.flush()
        found = answer(open_results(tmp_path), "timeline").to_pylist()
    ends = {(row["id"], row["attempt"]): row["ended_at"] for row in found}
    assert ends == {("x", 1): NOON + timedelta(seconds=10), ("x", 2): None, ("y", 1): None}


def test_no_slot_holds_two_at_once_and_no_more_slots_are_used_than_needed(tmp_path: Path):
    generator = np.random.default_rng(7)
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        for number in range(300):
            host, ended = f"host-{generator.integers(3)}", float(generator.uniform(0, 500))
            row = epoch(f"trial-{number}", 1, ended, host)
            writer.add_epoch(row | {"epoch_s": float(generator.uniform(1, 60))})
            writer.upsert_trial(trial_row(1, trial_id=f"trial-{number}", attempts=1))
    rows = answer(open_results(tmp_path), "timeline").to_pylist()
    assert len(rows) == 300
    slots, hosts = defaultdict(list), defaultdict(list)
    for row in rows:
        slots[row["host"], row["slot"]].append((row["began_at"], row["ended_at"]))
        hosts[row["host"]].append(row)
    for spans in slots.values():
        ordered = sorted(spans)
        assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(ordered))
    for of_host in hosts.values():
        most = max(sum(row["began_at"] <= one["began_at"] < row["ended_at"] for row in of_host) for one in of_host)
        assert max(row["slot"] for row in of_host) == most


def test_of_very_many_the_last_are_shown(tmp_path: Path):
    with StudyWriter(Root.open(tmp_path), "s") as writer:
        for number in range(2_010):
            began = NOON + timedelta(seconds=number)
            trial = {"trial_id": f"{number}", "status": "failed", "started_at": began, "finished_at": began}
            writer.upsert_trial(trial | {"attempts": 1})
    found = answer(open_results(tmp_path), "timeline")
    assert found["id"].to_pylist() == [str(number) for number in range(10, 2_010)]
    assert remarks_of(found) == ["The last 2000 of 2010: name a time, since or until."]


def test_stops_are_the_last_epochs_of_stopped_trials(root: Path):
    found = answer(open_results(root), "stops").to_pandas()
    for study, rows in found.groupby("study"):
        trials = parquet(root, study, "trials")
        expected = trials[trials["status"] == "stopped"].groupby("last_epoch").size()
        assert dict(zip(rows["epoch"], rows["num_stopped"], strict=True)) == expected.to_dict()
        reached = [int((trials["last_epoch"] >= epoch).sum()) for epoch in rows["epoch"]]
        assert rows["num_reached"].to_list() == reached
    assert found["study"].nunique() == 2

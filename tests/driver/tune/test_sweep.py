"""Whole sweeps: real Ray, real training, real processes that are stopped and killed."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from kd_sweep.tables.reader import open_results
from tests.command_line import IMPORT_TIMES, Run, Start, Started, split_imports
from tests.comparing_tables import comparable

pytestmark = pytest.mark.slow


CHECKPOINTS = {"teachers": "teachers/*/*.safetensors", "trials": "tiny/checkpoints/*/last-*.safetensors"}
"""What the first epoch of each phase leaves in the root, with most of the work ahead on any machine."""


def until_there_is(pattern: str, root: Path, process: Started) -> None:
    while not any(root.glob(pattern)):
        assert process.poll() is None, f"the sweep ended before there was {pattern}"
        time.sleep(0.01)


def test_a_sweep_that_is_stopped_in_either_phase_resumes_to_the_same_tables(
    uninterrupted: Path, tiny: Path, tmp_path: Path, kd_sweep: Run, start_kd_sweep: Start
) -> None:
    """While teachers train on one slot, then while trials do on two."""
    root = tmp_path / "results"
    launch, resume = ("launch", tiny, "--root", root), ("resume", root / "tiny")
    stops = (launch, signal.SIGTERM, "teachers", 1), (resume, signal.SIGINT, "trials", 2)
    for command, stop, phase, cpus in stops:
        process = start_kd_sweep(*command, cpus=cpus)
        until_there_is(CHECKPOINTS[phase], root, process)
        process.send_signal(stop)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 1, output
        assert f"stopped by {stop.name}; go on with: kd-sweep resume {root / 'tiny'}" in output
        assert open_results(root).table("epochs").num_rows < 12
    resumed = kd_sweep(*resume)
    assert resumed.returncode == 0, (output, resumed.stderr)
    for table in ("epochs", "trials", "teachers"):
        assert comparable(root, table).equals(comparable(uninterrupted, table)), table


def test_one_process_a_slot_trains_teachers_and_trials(uninterrupted: Path) -> None:
    results = open_results(uninterrupted)
    pids = [set(results.table(table)["pid"].to_pylist()) for table in ("teachers", "epochs")]
    assert len(pids[0]) == 1  # the study ran one trial at a time
    assert pids[0] == pids[1]


def test_a_sweep_whose_ray_is_killed_says_how_to_go_on(tiny: Path, with_teachers: Path, start_kd_sweep: Start) -> None:
    """Without its GCS a driver waits inside Ray, which would end it without a word after a minute."""
    process = start_kd_sweep("launch", tiny, "--root", with_teachers, "--set", "student.epochs=500")
    assert process.stdout is not None
    for line in process.stdout:
        if "trials:" in line:
            break
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (gcs,) = [pid for pid in children if Path(f"/proc/{pid}/comm").read_text().startswith("gcs_server")]
    os.kill(int(gcs), signal.SIGKILL)
    output, _ = process.communicate(timeout=45)
    assert process.returncode == 1
    reason = "Ray on this machine has died: its process gcs_server was ended by SIGKILL"
    assert output.splitlines()[-1] == f"kd-sweep: {reason}; go on with: kd-sweep resume {with_teachers / 'tiny'}"


def test_a_failing_trial_is_recorded_and_the_others_finish(tiny: Path, with_teachers: Path, kd_sweep: Run) -> None:
    broken = ["--set", "search.student.learning_rate={grid: [0.1, 100.0]}", "--set", "search.ensemble_size=1"]
    # With so much decay the larger learning rate makes weights grow a thousandfold with every step.
    broken += ["--set", "student.weight_decay=10.0", "--set", "student.batch_size=4"]
    done = kd_sweep("launch", tiny, "--root", with_teachers, *broken, "--set", "search.augmentation_strength=0.0")
    assert done.returncode == 3
    trials = open_results(with_teachers).pandas("trials").set_index("student_learning_rate")
    assert trials.status[0.1] == "completed"
    assert trials.status[100.0] == "failed"
    assert "NonFiniteError" in trials.error[100.0]
    assert "\n" not in trials.error[100.0]
    assert trials.attempts[100.0] == 2  # one retry
    assert f"trial {trials.trial_id[100.0]} failed: NonFiniteError" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_drivers_and_a_reader_on_one_study(
    tiny: Path, with_teachers: Path, kd_sweep: Run, start_kd_sweep: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, longer = with_teachers, ("--set", "student.epochs=200")
    first = start_kd_sweep("launch", tiny, "--root", root, *longer)
    try:
        assert first.stdout is not None
        assert any("trials:" in line for line in first.stdout)
        with monkeypatch.context() as timed:
            timed.setenv(*IMPORT_TIMES)
            for command in (("resume", root / "tiny"), ("launch", tiny, "--root", root, *longer)):
                second = kd_sweep(*command)
                imported, said = split_imports(second.stderr)
                assert second.returncode == 2, said
                assert re.fullmatch(
                    rf"kd-sweep: study 'tiny' is held by pid {first.pid} on \S+ for \d+ s .*\n", said
                ), said
                assert not {"torch", "ray", "optuna"} & imported, "it is refused before what takes seconds to load"
        until_there_is("tiny/epochs/*.parquet", root, first)
        asked = kd_sweep(
            "query", root, "--format", "json",
            "SELECT count(*) AS n, count(DISTINCT (trial_id, epoch)) AS d, max(epoch) AS last FROM epochs",
        )  # fmt: skip
        (row,) = json.loads(asked.stdout)
        assert row["n"] == row["d"] >= row["last"] >= 1
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate(timeout=60)
    # Nobody waits for the lease of a driver of this host that is dead.
    third = start_kd_sweep("launch", tiny, "--root", root, *longer)
    try:
        assert third.stdout is not None
        said = next(line for line in third.stdout if "trials:" in line or "held by" in line)
        assert "held by" not in said
    finally:
        third.kill()
        third.communicate(timeout=60)

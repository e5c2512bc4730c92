"""Whole sweeps: real Ray, real training, real processes that are killed."""

import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
from PIL import Image

from kd_sweep.results.reader import open_results
from tests.conftest import comparable

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., "subprocess.Popen[str]"]


def test_two_runs_agree_bit_for_bit(uninterrupted: Path, tiny: Path, tmp_path: Path, kd_sweep: Run) -> None:
    assert kd_sweep("launch", tiny, "--root", tmp_path / "again").returncode == 0
    for table in ("epochs", "trials", "teachers"):
        assert comparable(tmp_path / "again", table).equals(comparable(uninterrupted, table)), table


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda stop: stop.name)
def test_a_stopped_sweep_resumes_to_the_same_tables(
    stop: signal.Signals, uninterrupted: Path, tiny: Path, tmp_path: Path, kd_sweep: Run, start_kd_sweep: Start
) -> None:
    root = tmp_path / "results"
    process = start_kd_sweep("launch", tiny, "--root", root)
    assert process.stdout is not None
    for line in process.stdout:  # a signal before Ray has started is no different from one before the launch
        if "teachers:" in line:
            break
    delay = random.uniform(0, 8)
    time.sleep(delay)
    assert process.poll() is None, "the sweep ended before it could be stopped"
    os.kill(process.pid, stop)
    output, _ = process.communicate(timeout=60)
    if stop is not signal.SIGKILL:
        assert process.returncode == 1, output
        assert f"stopped by {stop.name}; go on with: kd-sweep resume {root / 'tiny'}" in output
    resumed = (
        kd_sweep("resume", root / "tiny") if (root / "tiny").exists() else kd_sweep("launch", tiny, "--root", root)
    )
    assert resumed.returncode == 0, (delay, output, resumed.stderr)
    for table in ("epochs", "trials", "teachers"):
        assert comparable(root, table).equals(comparable(uninterrupted, table)), (table, delay)


def test_a_sweep_whose_ray_is_killed_says_how_to_go_on(tiny: Path, tmp_path: Path, start_kd_sweep: Start) -> None:
    """Without its GCS a driver waits inside Ray, which would end it without a word after a minute."""
    process = start_kd_sweep("launch", tiny, "--root", tmp_path, "--set", "student.epochs=500")
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
    assert output.splitlines()[-1] == f"kd-sweep: {reason}; go on with: kd-sweep resume {tmp_path / 'tiny'}"


def test_several_kills_in_a_row(
    uninterrupted: Path, tiny: Path, tmp_path: Path, kd_sweep: Run, start_kd_sweep: Start
) -> None:
    root = tmp_path / "results"
    delays = [random.uniform(4, 12) for _ in range(3)]
    for delay in delays:
        process = start_kd_sweep("launch", tiny, "--root", root)
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    assert kd_sweep("launch", tiny, "--root", root).returncode == 0
    for table in ("epochs", "trials", "teachers"):
        assert comparable(root, table).equals(comparable(uninterrupted, table)), (table, delays)


def test_a_longer_grid_runs_only_what_is_new(tiny: Path, tmp_path: Path, kd_sweep: Run) -> None:
    root = tmp_path / "results"
    assert kd_sweep("launch", tiny, "--root", root, "--set", "search.augmentation_strength.grid=[0.0]").returncode == 0
    before = open_results(root).pandas("trials").set_index("trial_id")
    longer = kd_sweep("launch", tiny, "--root", root)
    assert longer.returncode == 0, longer.stderr
    after = open_results(root).pandas("trials").set_index("trial_id")
    assert len(before) == 2
    assert len(after) == 4
    assert (after.loc[before.index].finished_at == before.finished_at).all()
    assert (after.loc[before.index].attempts == 1).all()


def test_asha_stops_trials_and_its_rungs_come_back(tiny: Path, tmp_path: Path, kd_sweep: Run) -> None:
    root = tmp_path / "results"
    asha = ["--set", "scheduler={name: asha, grace_period: 1, reduction_factor: 2}", "--set", "student.epochs=5"]
    random_search = ["--set", "sampler={name: random, num_trials: 6}", "--set", "search.seed.grid=[0,1,2]"]
    first = kd_sweep("launch", tiny, "--root", root, *asha, *random_search)
    assert first.returncode == 0, first.stderr
    trials = open_results(root).pandas("trials")
    assert len(trials) == 6
    stopped = trials[trials.status == "stopped"]
    assert len(stopped) >= 1
    assert set(stopped.rung) <= {1, 2, 4}
    assert (stopped.rung == stopped.last_epoch).all()
    assert trials[trials.status == "completed"].rung.isna().all()


def test_a_failing_trial_is_recorded_and_the_others_finish(tiny: Path, tmp_path: Path, kd_sweep: Run) -> None:
    root = tmp_path / "results"
    broken = ["--set", "search.student.learning_rate={grid: [0.1, 1.0e+20]}", "--set", "search.ensemble_size=1"]
    done = kd_sweep("launch", tiny, "--root", root, *broken, "--set", "search.augmentation_strength=0.0")
    assert done.returncode == 3
    trials = open_results(root).pandas("trials").set_index("student_learning_rate")
    assert trials.status[0.1] == "completed"
    assert trials.status[1e20] == "failed"
    assert "NonFiniteError" in trials.error[1e20]
    assert "\n" not in trials.error[1e20]
    assert trials.attempts[1e20] == 2  # one retry
    assert f"trial {trials.trial_id[1e20]} failed: NonFiniteError" in done.stderr
    assert "Traceback" not in done.stderr


def test_queries_are_right_while_the_sweep_runs(
    tiny: Path, tmp_path: Path, kd_sweep: Run, start_kd_sweep: Start
) -> None:
    root = tmp_path / "results"
    process = start_kd_sweep("launch", tiny, "--root", root, "--set", "student.epochs=40")
    try:
        counts, deadline = [], time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(1)
            sql = "SELECT count(*) AS n, count(DISTINCT trial_id || '/' || epoch) AS d, min(epoch) AS m FROM epochs"
            asked = kd_sweep("query", root, sql, "--format", "json")
            if asked.returncode == 2:  # nothing launched yet
                assert "no stud" in asked.stderr, asked.stderr
                continue
            row = json.loads(asked.stdout)[0]
            assert row["n"] == row["d"]
            counts.append(row["n"])
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
    assert counts == sorted(counts)
    assert any(0 < count < 160 for count in counts), counts
    assert open_results(root).table("epochs").num_rows == 160


def test_a_corrupt_image_fails_its_trials_and_says_which(tiny: Path, tmp_path: Path, kd_sweep: Run) -> None:
    folder = tmp_path / "images"
    rng = numpy.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(20):
            Image.fromarray(rng.integers(0, 255, (12, 12, 3), dtype="uint8")).save(folder / name / f"{number:02}.png")
    (folder / "dog" / "07.png").write_bytes((folder / "dog" / "07.png").read_bytes()[:60])
    data = ["--set", f"data={{name: image_folder, path: {folder}, image_size: 8}}", "--set", "search={}"]
    done = kd_sweep("launch", tiny, "--root", tmp_path / "results", *data)
    assert done.returncode == 3, done.stderr
    (trial,) = open_results(tmp_path / "results").table("trials").to_pylist()
    assert trial["status"] == "failed"
    assert "dog/07.png" in trial["error"]
    assert "dog/07.png" in done.stderr


def test_two_drivers_on_one_study(tiny: Path, tmp_path: Path, kd_sweep: Run, start_kd_sweep: Start) -> None:
    root = tmp_path / "results"
    first = start_kd_sweep("launch", tiny, "--root", root, "--set", "student.epochs=200")
    try:
        assert first.stdout is not None
        for line in first.stdout:
            if "trials:" in line:
                break
        for command in (("resume", root / "tiny"), ("launch", tiny, "--root", root, "--set", "student.epochs=200")):
            second = start_kd_sweep(*command)
            assert time_on_a_quiet_machine(second) < 2
            said, _ = second.communicate(timeout=60)
            assert second.returncode == 2, said
            assert re.fullmatch(rf"kd-sweep: study 'tiny' is held by pid {first.pid} on \S+ for \d+ s .*\n", said), said
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate(timeout=60)
    # Nobody waits for the lease of a driver of this host that is dead.
    third = start_kd_sweep("launch", tiny, "--root", root, "--set", "student.epochs=200")
    try:
        assert third.stdout is not None
        said = next(line for line in third.stdout if "trials:" in line or "held by" in line)
        assert "held by" not in said
    finally:
        third.kill()
        third.communicate(timeout=60)


def time_on_a_quiet_machine(process: "subprocess.Popen[str]") -> float:
    """Wait for the process and return its seconds without those in which it was ready to run and had no CPU."""
    began = time.monotonic()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    elapsed = time.monotonic() - began
    _, waited_ns, _ = Path(f"/proc/{process.pid}/schedstat").read_text().split()
    return elapsed - int(waited_ns) / 1e9


def test_teachers_are_trained_on_demand_where_the_space_is_not_finite(
    tiny: Path, tmp_path: Path, kd_sweep: Run
) -> None:
    """One slot: a trial that waited for somebody else to train its teachers would wait for ever."""
    tpe = ["--set", "search.augmentation_strength={uniform: [0, 1]}", "--set", "sampler={name: tpe, num_trials: 3}"]
    one_slot = ["--set", "max_concurrent_trials=1", "--set", "search.ensemble_size=2"]
    done = kd_sweep("launch", tiny, "--root", tmp_path / "results", *tpe, *one_slot)
    assert done.returncode == 0, done.stderr
    results = open_results(tmp_path / "results")
    assert results.table("trials").num_rows == 3
    assert results.table("teachers").num_rows == 6

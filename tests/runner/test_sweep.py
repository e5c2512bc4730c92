"""Whole sweeps: real Ray, real training, real processes that are killed."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kd_sweep.results.reader import open_results
from tests.conftest import comparable

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a tiny study that ran from start to end."""
    from tests.conftest import COMMAND, TINY, environment

    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "tiny.yaml").write_text(TINY)
    command = [*COMMAND, "launch", str(folder / "tiny.yaml"), "--root", str(folder / "results")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "results"


def test_every_trial_reports_every_epoch_and_teachers_are_shared(uninterrupted: Path) -> None:
    results = open_results(uninterrupted)
    epochs = results.pandas("epochs")
    assert sorted(zip(epochs.trial_id, epochs.epoch, strict=True)) == sorted(
        (trial, epoch) for trial in epochs.trial_id.unique() for epoch in (1, 2, 3)
    )
    trials = results.pandas("trials")
    assert list(trials.status) == ["completed"] * 4
    assert list(trials.last_epoch) == [3] * 4
    teachers = results.pandas("teachers")
    assert sorted(zip(teachers.augmentation_strength, teachers.member, strict=True)) == [
        (0.0, 1), (0.0, 2), (0.5, 1), (0.5, 2),
    ]  # fmt: skip
    single = trials[trials.ensemble_size == 1]
    assert single.attention_iou_teachers.isna().all()
    assert trials[trials.ensemble_size == 2].attention_iou_teachers.between(0, 1).all()


def test_a_finished_study_starts_nothing(uninterrupted: Path, tiny: Path, kd_sweep: Run) -> None:
    before = comparable(uninterrupted, "epochs")
    started = time.monotonic()
    again = kd_sweep("launch", tiny, "--root", uninterrupted)
    took = time.monotonic() - started
    assert again.returncode == 0, again.stderr
    assert "nothing left to run (4 completed)" in again.stderr
    assert took < 5
    assert comparable(uninterrupted, "epochs").equals(before)


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
    assert done.returncode == 1
    trials = open_results(root).pandas("trials").set_index("student_learning_rate")
    assert trials.status[0.1] == "completed"
    assert trials.status[1e20] == "failed"
    assert "NonFiniteError" in trials.error[1e20]
    assert "\n" not in trials.error[1e20]
    assert trials.attempts[1e20] == 2  # one retry
    assert f"trial {trials.trial_id[1e20]} failed: NonFiniteError" in done.stderr
    assert "Traceback" not in done.stderr

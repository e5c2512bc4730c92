"""The folder of a run: one driver at most, and what it says of its end."""

import io
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from kd_sweep.driver.converge import Outcome
from kd_sweep.service.supervision import driver_process
from kd_sweep.service.supervision.driver_process import end_of
from kd_sweep.service.supervision.run_folder import STUDY_FILE, RunEnd, RunFolder, RunRequest
from tests.command_line import environment
from tests.tiny_study import TINY


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.make(tmp_path, "1-a", RunRequest(str(tmp_path / "root"), None, None), "name: digits", None)


def test_of_many_claims_one_counts(folder: RunFolder) -> None:
    won: list[bool] = []
    threads = [threading.Thread(target=lambda: won.append(folder.claim(os.getpid()))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 15 + [True]
    driver = folder.driver()
    assert driver is not None
    assert driver[0] == os.getpid()
    assert folder.driver_is_alive


def test_a_driver_that_was_given_up_does_nothing(folder: RunFolder) -> None:
    assert folder.claim(None)
    assert driver_process.main(folder.path) == 0
    assert folder.end() is None
    assert (folder.driver(), folder.driver_is_alive) == (None, False)


def test_a_process_of_the_same_pid_is_another_one(folder: RunFolder) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert folder.claim(process.pid)
        assert folder.driver_is_alive
        process.kill()
    assert not folder.driver_is_alive


def test_a_wrong_study_ends_as_refused_with_its_one_line(tmp_path: Path) -> None:
    request = RunRequest(str(tmp_path / "root"), None, None)
    folder = RunFolder.make(tmp_path, "1-a", request, "name: digits\nteacher: {epoch: 3}", None)
    assert driver_process.main(folder.path) == 1
    end = folder.end()
    assert end is not None
    assert end.kind == "refused"
    assert str(end.message).startswith("teacher.epoch: ")
    assert not (tmp_path / "root").exists()


def test_a_root_that_cannot_be_written_may_be_mended(tmp_path: Path) -> None:
    (tmp_path / "root").touch()
    folder = RunFolder.make(tmp_path, "1-a", RunRequest(str(tmp_path / "root"), None, None), "name: digits", None)
    assert driver_process.main(folder.path) == 1
    end = folder.end()
    assert end is not None
    assert end.kind == "died"


def test_a_driver_that_is_told_to_stop_before_it_runs_says_so(tmp_path: Path) -> None:
    """Also one whose parent had blocked the signal."""
    folder = RunFolder.make(tmp_path, "1-a", RunRequest(str(tmp_path / "root"), None, None), TINY, None)
    command = [sys.executable, "-m", "kd_sweep.service.supervision.driver_process", str(folder.path)]
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        process = subprocess.Popen(command, env=environment())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    try:
        process.terminate()
        assert process.wait(60) == 1
    finally:
        process.kill()
    assert folder.end() == RunEnd("interrupted", "stopped by SIGTERM")
    assert not (tmp_path / "root").exists()


def test_an_end_that_another_version_has_noted_counts_as_none(folder: RunFolder) -> None:
    (folder.path / "end.json").write_text('{"kind": "done", "mood": "well"}')
    assert folder.end() is None


def test_plugins_lie_beside_the_study_and_replace_nothing(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("mykd/losses.py", "x = 1")
        archive.writestr("study.yaml", "name: other")
        archive.writestr("driver.json", "{}")
    folder = RunFolder.make(tmp_path, "1-a", RunRequest("root", None, 2), "name: digits", content.getvalue())
    assert (folder.path / STUDY_FILE).read_text() == "name: digits"
    assert (folder.path / STUDY_FILE).parent.joinpath("mykd/losses.py").read_text() == "x = 1"
    assert folder.driver() is None
    assert folder.request() == RunRequest("root", None, 2)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome("s", Counter(completed=2), True), RunEnd("done", counts={"completed": 2})),
        (
            Outcome("s", Counter(completed=2), True, left=3, why_left="budget.max_trials keeps them out"),
            RunEnd(
                "done", "3 trials have not started: budget.max_trials keeps them out", True, counts={"completed": 2}
            ),
        ),
        (
            Outcome("s", Counter(), True, left=1, why_left="the sampler found no other point to suggest"),
            RunEnd("done", "1 trials have not started: the sampler found no other point to suggest"),
        ),
        (
            Outcome("s", Counter(paused=1), True, paused=1, left=2, why_left="budget.max_hours are over"),
            RunEnd(
                "done",
                "1 trials go on from their last epoch when budget.max_hours is raised",
                True,
                counts={"paused": 1},
            ),
        ),
        (
            Outcome("s", Counter(failed=1, completed=1), True, errors={"7be4": "failed: NaN"}),
            RunEnd(
                "done",
                "1 of 2 trials failed, the first is 7be4: failed: NaN",
                num_failed=1,
                counts={"failed": 1, "completed": 1},
                errors={"7be4": "failed: NaN"},
            ),
        ),
        (Outcome("s", Counter(), True, interrupted="SIGTERM"), RunEnd("interrupted", "stopped by SIGTERM")),
    ],
)
def test_an_outcome_as_the_queue_needs_it(folder: RunFolder, outcome: Outcome, expected: RunEnd) -> None:
    assert end_of(outcome) == expected
    folder.write_end(expected)
    assert folder.end() == expected


def test_the_last_line_of_a_log(folder: RunFolder) -> None:
    assert folder.last_line() is None
    folder.log.write_text("first\n" + "x" * 20_000 + "\nlast\n\n")
    assert folder.last_line() == "last"

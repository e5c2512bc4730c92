"""Sweeps as Ray jobs, on a real head with a dashboard."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kd_sweep.tables.reader import open_results
from tests.cluster.hosts import Host, eventually, free_port, hosts, why_not
from tests.command_line import Run

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(why_not(networks=False) is not None, reason=str(why_not(networks=False))),
]

EPOCHS = 25


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    pytest.importorskip("aiohttp_cors", reason="ray[default] is not installed")
    with hosts() as make_host:
        yield make_host("jobs", tmp_path_factory.mktemp("hosts"))


@pytest.fixture(scope="module")
def dashboard(head: Host) -> str:
    port = free_port()
    ports = [f"--dashboard-port={port}", f"--dashboard-agent-listen-port={free_port()}"]
    head.head(free_port(), "--num-cpus=2", "--include-dashboard=true", *ports)
    return f"http://127.0.0.1:{port}"


def assert_refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def test_a_job_runs_to_its_end_with_nothing_of_ours_installed(
    head: Host, dashboard: str, tiny: Path, tmp_path: Path, kd_sweep: Run
) -> None:
    assert "No module named 'kd_sweep'" in head.run(sys.executable, "-c", "import kd_sweep").stdout
    submitted = kd_sweep("submit", tiny, "--address", dashboard, "--root", tmp_path, "--set", "search.seed.grid=[7]")
    assert submitted.returncode == 0, submitted.stderr
    job = submitted.stdout.strip()
    assert job.startswith("tiny-")
    followed = kd_sweep("logs", job, "--address", dashboard, "--follow")
    assert "4 completed" in followed.stdout, followed.stdout
    assert "SUCCEEDED" in followed.stderr
    trials = open_results(tmp_path).table("trials").to_pylist()
    assert [(row["status"], row["seed"], row["host"]) for row in trials] == [("completed", 7, "jobs")] * 4
    assert_refused(kd_sweep("logs", job[:-1], "--address", dashboard), "no such job", job)


def test_a_stopped_job_leaves_a_study_that_goes_on(dashboard: str, tiny: Path, tmp_path: Path, kd_sweep: Run) -> None:
    tiny.write_text(tiny.read_text().replace("epochs: 3", f"epochs: {EPOCHS}").replace("_images: 200", "_images: 800"))
    arguments = ("submit", tiny, "--address", dashboard, "--root", tmp_path / "r")
    job = kd_sweep(*arguments).stdout.strip()
    started = tmp_path / "r" / "tiny" / "checkpoints"
    eventually(lambda: list(started.glob("*/*")), 90, "a trial has a checkpoint")
    stopped = kd_sweep("stop", job, "--address", dashboard)
    assert "STOPPED" in stopped.stderr, stopped.stderr
    # Its driver has written everything and let go of the study, or the rows would read as running for 30 s more.
    said = kd_sweep("logs", job, "--address", dashboard).stdout
    assert "stopped by SIGTERM; go on with" in said, said
    statuses = set(open_results(tmp_path / "r").table("trials")["status"].to_pylist())
    assert "interrupted" in statuses
    assert "running" not in statuses
    again = kd_sweep(*arguments).stdout.strip()
    followed = kd_sweep("logs", again, "--address", dashboard, "--follow")
    assert "4 completed" in followed.stdout, followed.stdout
    epochs = open_results(tmp_path / "r").table("epochs")
    found = sorted(zip(epochs["trial_id"].to_pylist(), epochs["epoch"].to_pylist(), strict=True))
    assert len(found) == 4 * EPOCHS
    assert found == sorted((trial, epoch) for trial in {trial for trial, _ in found} for epoch in range(1, EPOCHS + 1))
    verified = kd_sweep("verify", tmp_path / "r")
    assert (verified.returncode, "0 problems" in verified.stderr) == (0, True), verified.stdout


def test_what_cannot_be_submitted(dashboard: str, tiny: Path, tmp_path: Path, kd_sweep: Run) -> None:
    assert_refused(kd_sweep("submit", tiny, "--address", dashboard, "--root", "results"), "--root results", "/folder")
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert_refused(kd_sweep("submit", tiny, "--address", nowhere, "--root", "/r"), nowhere, "no dashboard answers")
    assert_refused(kd_sweep("submit", tiny, "--address", "127.0.0.1:6379", "--root", "/r"), "http://HOST:8265")
    assert_refused(kd_sweep("submit", tiny, "--address", dashboard, "--root", "/r", "--set", "retries=-1"), "retries")
    assert_refused(kd_sweep("stop", "no-such", "--address", dashboard), "no such job")

"""What happens to a trial whose process or node ends under it; on one head and its workers, on loopback."""

import contextlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest

from kd_sweep.driver.ray.lost_processes import MAX_LOSSES
from kd_sweep.errors import KdSweepError
from kd_sweep.tables.reader import open_results
from tests.cluster.hosts import Host, eventually, free_port, why_not

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(why_not(networks=False) is not None, reason=str(why_not(networks=False))),
]

REPOSITORY = Path(__file__).parents[2]
EPOCHS = 200
"""Many enough that a trial is still under way some seconds after its first rows can be read."""
SPEC = f"""
name: hit
data: {{name: digits, image_size: 8, max_train_images: 600, max_val_images: 100}}
teacher: {{model: resnet8, width: 4, epochs: 1}}
student: {{model: resnet8, width: 4, epochs: {EPOCHS}}}
search: {{augmentation_strength: {{grid: [0.0]}}, seed: {{grid: [0, 1]}}}}
retries: 0
"""
ONE_TRIAL = ("--set", "search.seed.grid=[0]")
ACTOR = ("ray::TrialActor", "ray::ResourceTrainable")
"""What Ray calls a trial's process between and within its calls."""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "hit.yaml"
    path.write_text(SPEC)
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "kd_sweep", *map(str, arguments)]


def sweep(head: Host, *arguments: object, log: str) -> Popen[str]:
    return head.start(*command(*arguments), log=log, PYTHONPATH=str(REPOSITORY))


def rows(root: Path, sql: str) -> list[dict[str, object]]:
    with contextlib.suppress(KdSweepError):
        return open_results(root).sql(sql).to_pylist()
    return []


def status(head: Host, root: Path) -> dict[str, object]:
    """Return what `kd-sweep status` says of the one study, with the counts of trials that are not 0."""
    done = head.run(*command("status", root, "--format", "json"), PYTHONPATH=str(REPOSITORY))
    assert done.returncode == 0, done.stdout
    (row,) = json.loads(done.stdout)
    counts = {key: row.pop(key) for key in list(row) if key.startswith("num_")}
    planned, trials, epochs = (counts.pop(f"num_{what}") for what in ("planned", "trials", "epochs"))
    assert sum(counts.values()) == trials
    told = {key.removeprefix("num_"): count for key, count in counts.items() if count}
    return row | {"trials": told, "planned": planned, "epochs": epochs}


def training(root: Path) -> list[Path]:
    """Return the checkpoints that are there."""
    return list(root.glob("hit/checkpoints/*/last*"))


def assert_whole(head: Host, root: Path, num_trials: int, num_epochs: int = EPOCHS) -> None:
    told = status(head, root)
    assert (told["status"], told["trials"], told["driver_alive"]) == ("completed", {"completed": num_trials}, False)
    epochs = open_results(root).table("epochs")
    found = sorted(zip(epochs["trial_id"].to_pylist(), epochs["epoch"].to_pylist(), strict=True))
    assert len(found) == num_trials * num_epochs
    trial_ids = {trial for trial, _ in found}
    assert found == sorted((trial, epoch) for trial in trial_ids for epoch in range(1, num_epochs + 1))
    verified = head.run(*command("verify", root), PYTHONPATH=str(REPOSITORY))
    assert (verified.returncode, "0 problems" in verified.stdout) == (0, True), verified.stdout


@pytest.mark.parametrize(("number", "outcome"), [(signal.SIGKILL, "lost"), (signal.SIGTERM, "preempted")])
def test_a_process_that_ends_costs_no_retry(
    cluster: tuple[Host, str], spec: Path, tmp_path: Path, number: signal.Signals, outcome: str
) -> None:
    head, address = cluster
    root, log = tmp_path / "r", f"{outcome}.log"
    running = sweep(head, "launch", spec, "--root", root, "--address", address, log=log)
    eventually(lambda: training(root), 180, "a trial has a checkpoint")
    hit = head.processes(*ACTOR)
    assert len(hit) == 1
    os.kill(hit[0], number)
    assert running.wait(timeout=300) == 0, head.log(log)
    assert f" {outcome}, goes on from its checkpoint" in head.log(log)
    assert "(raylet)" not in head.log(log), "Ray's own account of it is not shown too"
    assert_whole(head, root, 2)
    assert [row["attempts"] for row in rows(root, "SELECT attempts FROM trials ORDER BY attempts")] == [1, 2]


def killed(worker: Host) -> None:
    worker.kill()


def told_to_go(worker: Host) -> None:
    """As systemd, Slurm and a cloud's shutdown do it."""
    (script,) = [pid for pid in worker.processes("bash") if b"worker.sh" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(script, signal.SIGTERM)


def ray_stopped(worker: Host) -> None:
    """As the pods' `preStop` does it."""
    worker.run("ray", "stop")


@pytest.mark.parametrize(("ends", "outcome"), [(killed, "lost"), (told_to_go, "preempted"), (ray_stopped, "preempted")])
def test_the_trial_of_a_node_that_ends_waits_for_another(
    make_host: Callable[..., Host],
    cluster: tuple[Host, str],
    spec: Path,
    tmp_path: Path,
    ends: Callable[[Host], None],
    outcome: str,
) -> None:
    """Only a node of its kind can take the trial over: meanwhile the status tells what happened to it."""
    head, address = cluster
    root, log = tmp_path / "r", f"{ends.__name__}.log"
    # Ray lets a node that is told to go work on for 30 s, or for as long as this says.
    given = {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1", "RETRY_S": "600"}
    first, second = (make_host(name, tmp_path, environment=given) for name in ("spot1", "spot2"))
    first.join(address, "--num-cpus=1", '--resources={"spot": 1}')
    options = (*ONE_TRIAL, "--set", "resources.custom={spot: 1}")
    running = sweep(head, "launch", spec, "--root", root, "--address", address, *options, log=log)
    try:
        eventually(lambda: rows(root, "SELECT 1 FROM epochs WHERE host = 'spot1'"), 180, "the worker trains")
        ends(first)
        eventually(lambda: outcome in status(head, root)["trials"], 180, f"the trial is {outcome}")  # type: ignore[operator]
        told = status(head, root)
        assert (told["trials"], told["status"], told["driver_alive"]) == ({outcome: 1}, "running", True)
        assert 0 < told["epochs"] < EPOCHS  # type: ignore[operator]
        second.join(address, "--num-cpus=1", '--resources={"spot": 1}')
        assert running.wait(timeout=300) == 0, head.log(log)
    finally:
        first.kill()
        second.kill()
    # Which of the two the driver hears of first is chance.
    gone = r"(the node on [\d.]+ went away|the connection to the trial's process on [\d.]+ broke)"
    assert re.search(rf"trial \w+ {outcome}, goes on from its checkpoint: {gone}", head.log(log)), head.log(log)
    assert_whole(head, root, 1)
    worked = {row["host"] for row in rows(root, "SELECT DISTINCT host FROM epochs WHERE host IS NOT NULL")}
    assert worked == {"spot1", "spot2"}
    assert [row["attempts"] for row in rows(root, "SELECT attempts FROM trials")] == [2]


def test_a_process_that_ray_ends_for_want_of_memory_costs_no_retry(
    make_host: Callable[..., Host], spec: Path, tmp_path: Path
) -> None:
    """The node's memory is what its /proc/meminfo says: that is put in our hands, since others work here too."""
    tight = make_host("tight", tmp_path, environment={"RAY_memory_monitor_refresh_ms": "100"})
    plenty = Path("/proc/meminfo").read_text()
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(plenty)
    tight.mount("--bind", str(meminfo), "/proc/meminfo")
    address = tight.head(free_port(), "--num-cpus=1", "--include-dashboard=false")
    root, log = tmp_path / "r", "memory.log"
    running = sweep(tight, "launch", spec, "--root", root, "--address", address, *ONE_TRIAL, log=log)
    try:
        eventually(lambda: training(root), 180, "a trial has a checkpoint")
        with meminfo.open("r+") as file:  # the same file: a new one would not be the one that is mounted
            file.write(re.sub(r"(MemFree|MemAvailable|Cached|Buffers): +\d+", r"\1: 1", plenty))
            file.truncate()
        eventually(lambda: "lost, goes on" in tight.log(log), 180, "Ray has ended the trial's process")
        meminfo.write_text(plenty)
        assert running.wait(timeout=300) == 0, tight.log(log)
        assert "lost, goes on from its checkpoint: out of memory on " in tight.log(log)
        assert_whole(tight, root, 1)
        assert [row["attempts"] >= 2 for row in rows(root, "SELECT attempts FROM trials")] == [True]  # type: ignore[operator]
    finally:
        tight.kill()


@pytest.mark.parametrize(
    ("number", "outcome", "reason"),
    [(signal.SIGKILL, "lost", "was killed or crashed"), (signal.SIGTERM, "preempted", "received SIGTERM")],
)
def test_a_trial_that_never_gets_through_an_epoch_is_given_up_and_may_be_resumed(
    cluster: tuple[Host, str], spec: Path, tmp_path: Path, number: signal.Signals, outcome: str, reason: str
) -> None:
    head, address = cluster
    root, log = tmp_path / "r", f"given-up-{outcome}.log"
    # Epochs long enough that no attempt gets through one before it is hit, and few, for the resume.
    settings = ("data.max_train_images=null", "student.width=32", "student.epochs=12")
    arguments = [*ONE_TRIAL, *(word for setting in settings for word in ("--set", setting))]
    running = sweep(head, "launch", spec, "--root", root, "--address", address, *arguments, log=log)
    eventually(lambda: "trials: 1 to run" in head.log(log), 180, "the trial begins")
    hit: set[int] = set()
    while running.poll() is None:
        for pid in set(head.processes(*ACTOR)) - hit:
            os.kill(pid, number)
            hit.add(pid)
        time.sleep(0.05)
    assert running.returncode == 3, head.log(log)
    assert len(hit) == MAX_LOSSES + 1
    told = status(head, root)
    assert (told["trials"], told["status"], told["driver_alive"]) == ({outcome: 1}, "incomplete", False)
    (trial,) = rows(root, "SELECT * FROM trials")
    assert reason in str(trial["error"])
    resumed = sweep(head, "resume", root / "hit", "--address", address, log=f"again-{outcome}.log")
    assert resumed.wait(timeout=300) == 0, head.log(f"again-{outcome}.log")
    assert_whole(head, root, 1, num_epochs=12)


def test_failed_and_stopped_trials_are_told_apart(cluster: tuple[Host, str], spec: Path, tmp_path: Path) -> None:
    head, address = cluster
    root, log = tmp_path / "r", "told-apart.log"
    settings = (
        "student.epochs=4",
        "search.seed.grid=[0, 1, 2, 3]",
        "student.weight_decay=10",
        "search.student.learning_rate={grid: [0.001, 100.0]}",
        "scheduler={name: asha, metric: val_loss, mode: min, grace_period: 1, reduction_factor: 2}",
    )
    options = [word for setting in settings for word in ("--set", setting)]
    running = sweep(head, "launch", spec, "--root", root, "--address", address, *options, log=log)
    assert running.wait(timeout=300) == 3, head.log(log)
    told = status(head, root)
    counts = told["trials"]
    assert isinstance(counts, dict)
    assert counts.keys() == {"failed", "stopped", "completed"}, counts
    assert counts["failed"] == 4
    trials = rows(root, "SELECT status, student_learning_rate, rung, error FROM trials")
    for row in trials:
        assert (row["status"] == "failed") == (row["student_learning_rate"] == 100.0) == (row["error"] is not None), row
        assert (row["status"] == "stopped") == (row["rung"] is not None), row

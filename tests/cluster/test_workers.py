"""What happens to a trial whose process or node ends under it; on one head and one worker, on loopback."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from kd_sweep.errors import KdSweepError
from kd_sweep.results.reader import open_results
from kd_sweep.runner.retries import MAX_LOSSES
from tests.cluster.hosts import Host, eventually, free_port, hosts, why_not

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(why_not(networks=False) is not None, reason=str(why_not(networks=False))),
]

REPOSITORY = Path(__file__).parents[2]
EPOCHS = 60
SPEC = f"""
name: hit
data: {{name: digits, image_size: 8, max_train_images: 600, max_val_images: 100}}
teacher: {{model: resnet8, width: 4, epochs: 1}}
student: {{model: resnet8, width: 4, epochs: {EPOCHS}}}
search: {{augmentation_strength: {{grid: [0.0]}}, seed: {{grid: [0, 1]}}}}
retries: 0
"""
ACTOR = ("ray::TrialActor", "ray::ResourceTrainable")
"""What Ray calls a trial's process between and within its calls."""


@pytest.fixture(scope="module")
def make_host() -> Iterator[Callable[..., Host]]:
    with hosts() as make:
        yield make


@pytest.fixture(scope="module")
def cluster(make_host: Callable[..., Host], tmp_path_factory: pytest.TempPathFactory) -> tuple[Host, str]:
    head = make_host("head", tmp_path_factory.mktemp("hosts"))
    return head, head.head(free_port(), "--num-cpus=1", "--include-dashboard=false")


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "hit.yaml"
    path.write_text(SPEC)
    return path


def sweep(head: Host, *arguments: object, log: str) -> Popen[str]:
    command = [sys.executable, "-m", "kd_sweep", *map(str, arguments)]
    return head.start(*command, log=log, PYTHONPATH=str(REPOSITORY))


def rows(root: Path, sql: str) -> list[dict[str, object]]:
    with contextlib.suppress(KdSweepError):
        return open_results(root).sql(sql).to_pylist()
    return []


def training(root: Path) -> list[Path]:
    """Return the checkpoints that are there."""
    return list(root.glob("hit/checkpoints/*/last*"))


def assert_whole(root: Path) -> None:
    assert [row["status"] for row in rows(root, "SELECT status FROM trials")] == ["completed"] * 2
    epochs = open_results(root).table("epochs")
    found = sorted(zip(epochs["trial_id"].to_pylist(), epochs["epoch"].to_pylist(), strict=True))
    assert found == sorted((trial, epoch) for trial in {trial for trial, _ in found} for epoch in range(1, EPOCHS + 1))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, "lost"), (signal.SIGTERM, "preempted")])
def test_a_process_that_ends_costs_no_retry(
    cluster: tuple[Host, str], spec: Path, tmp_path: Path, number: signal.Signals, status: str
) -> None:
    head, address = cluster
    root, log = tmp_path / "r", f"{status}.log"
    running = sweep(head, "launch", spec, "--root", root, "--address", address, log=log)
    eventually(lambda: training(root), 60, "a trial has a checkpoint")
    for pid in head.processes(*ACTOR):
        os.kill(pid, number)
    assert running.wait(timeout=120) == 0, head.log(log)
    assert f" {status}, goes on from its checkpoint" in head.log(log)
    assert_whole(root)
    assert [row["attempts"] for row in rows(root, "SELECT attempts FROM trials ORDER BY attempts")] == [1, 2]


def test_a_node_that_is_told_to_go_gives_its_trial_away(
    make_host: Callable[..., Host], cluster: tuple[Host, str], spec: Path, tmp_path: Path
) -> None:
    head, address = cluster
    worker = make_host("spot", tmp_path)
    worker.join(address, "--num-cpus=1")
    root = tmp_path / "r"
    running = sweep(head, "launch", spec, "--root", root, "--address", address, log="told.log")
    here = "SELECT DISTINCT host FROM epochs WHERE host = 'spot'"
    eventually(lambda: rows(root, here), 60, "the worker trains")
    (script,) = [pid for pid in worker.processes("bash") if b"worker.sh" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(script, signal.SIGTERM)
    assert running.wait(timeout=120) == 0, head.log("told.log")
    assert " preempted, goes on from its checkpoint: the node on" in head.log("told.log"), head.log("told.log")
    assert_whole(root)
    worker.kill()


def test_a_trial_that_never_gets_through_an_epoch_is_lost_and_may_be_resumed(
    cluster: tuple[Host, str], spec: Path, tmp_path: Path
) -> None:
    head, address = cluster
    root = tmp_path / "r"
    arguments = ("--set", "search.seed.grid=[0]", "--set", "data.max_train_images=null")
    running = sweep(head, "launch", spec, "--root", root, "--address", address, *arguments, log="lost.log")
    eventually(lambda: head.log("lost.log").count("trials: 1 to run"), 60, "the trial begins")
    killed: set[int] = set()
    while running.poll() is None:
        for pid in set(head.processes(*ACTOR)) - killed:
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
        time.sleep(0.05)
    assert running.returncode == 1, head.log("lost.log")
    assert len(killed) == MAX_LOSSES + 1
    (trial,) = rows(root, "SELECT * FROM trials")
    assert trial["status"] == "lost"
    assert "was killed or crashed" in str(trial["error"])
    resumed = sweep(head, "resume", root / "hit", "--address", address, log="again.log")
    assert resumed.wait(timeout=120) == 0, head.log("again.log")
    assert [row["status"] for row in rows(root, "SELECT status FROM trials")] == ["completed"]

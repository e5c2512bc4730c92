"""Hosts that are killed, links that are cut, heads that come back: every row is there exactly once at the end."""

import contextlib
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import pyarrow as pa
import pytest
import ray

from kd_sweep.errors import KdSweepError
from kd_sweep.tables.reader import open_results
from tests.catalogue import all_kinds
from tests.catalogue.modules import write_modules
from tests.cluster.hosts import Host, Network, eventually, hosts, why_not
from tests.comparing_tables import comparable

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(why_not(networks=True) is not None, reason=str(why_not(networks=True))),
]

REPOSITORY = Path(__file__).parents[2]
EPOCHS, TEACHER_EPOCHS = 12, 2
SPEC = all_kinds.study(
    "spread",
    "seeds: 3\nsearch: {augmentation_strength: {grid: [0.0, 0.5]}, ensemble_size: {grid: [1, 2]}}",
    num_points=4,
    epochs=EPOCHS,
    channels=32,
)
"""With an entry of each kind of a plug-in. The sampler suggests every point, so that all runs have the same trials."""
NUM_TRIALS, NUM_TEACHERS = 12, 12
PORT = 6399
LAG_S = 5
"""A row's time is that of its arrival at the driver, which a busy machine delays."""


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spec") / "spread.yaml"
    path.write_text(SPEC)
    write_modules(path.parent, all_kinds.MODULES)
    return path


@pytest.fixture(scope="module")
def undisturbed(spec: Path, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """The epochs of the same study on this machine alone."""
    root = tmp_path_factory.mktemp("undisturbed")
    with hosts() as make_host:
        alone = make_host("alone", tmp_path_factory.mktemp("hosts"))
        done = alone.run(*command("launch", spec, "--root", root), timeout=500, PYTHONPATH=str(REPOSITORY))
        assert done.returncode == 0, done.stdout
    epochs = comparable(root, "epochs")
    assert epochs.num_rows == NUM_TRIALS * EPOCHS
    return epochs


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as made:
        yield made


@pytest.fixture
def make_host(network: Network, tmp_path: Path) -> Iterator[Callable[[str, str], Host]]:
    """Make a host of this name and address on the network."""
    with hosts() as make:
        yield lambda name, address: make(name, tmp_path / "hosts", address, network.join(name, address))


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "kd_sweep", *map(str, arguments)]


def plain(text: str) -> str:
    """Return a text without its colours."""
    return re.sub(r"\x1b\[\d+m", "", text)


def driver(head: Host, *arguments: object) -> Popen[str]:
    return head.start(*command(*arguments), log="driver.log", PYTHONPATH=str(REPOSITORY))


def rows(root: Path, sql: str) -> list[dict[str, object]]:
    with contextlib.suppress(KdSweepError):
        return open_results(root).sql(sql).to_pylist()
    return []


def hosts_at_work(root: Path) -> set[object]:
    return {row["host"] for row in rows(root, "SELECT DISTINCT host FROM epochs WHERE host IS NOT NULL")}


def epochs_after(root: Path, host: str, moment: float) -> int:
    sql = f"SELECT count(*) AS n FROM epochs WHERE host = '{host}' AND epoch(finished_at) > {moment}"
    return rows(root, sql)[0]["n"]  # type: ignore[return-value]


def num_epochs(root: Path) -> int:
    return rows(root, "SELECT count(*) AS n FROM epochs")[0]["n"]  # type: ignore[return-value]


def assert_whole(host: Host, root: Path, undisturbed: pa.Table) -> None:
    """Every epoch of every trial once, with the numbers of a run without faults; every file as it should be."""
    trials = rows(root, "SELECT status, last_epoch FROM trials")
    assert [(row["status"], row["last_epoch"]) for row in trials] == [("completed", EPOCHS)] * NUM_TRIALS
    epochs = open_results(root).table("epochs")
    found = sorted(zip(epochs["trial_id"].to_pylist(), epochs["epoch"].to_pylist(), strict=True))
    assert found == sorted((trial, epoch) for trial in {trial for trial, _ in found} for epoch in range(1, EPOCHS + 1))
    assert comparable(root, "epochs").equals(undisturbed)
    verified = host.run(*command("verify", root), PYTHONPATH=str(REPOSITORY))
    assert (verified.returncode, "0 problems" in verified.stdout) == (0, True), verified.stdout


class TeacherFiles:
    """Every appearance of a teacher's weights and of its checkpoints under a root, told apart by inode and time."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: dict[str, set[tuple[str, int, int]]] = {"model": set(), "last": set()}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "TeacherFiles":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join()

    def assert_each_was_trained_once(self) -> None:
        """One file of weights each, and no more checkpoints than it has epochs."""
        weights = [teacher for teacher, _, _ in self._seen["model"]]
        assert (len(weights), len(set(weights))) == (NUM_TEACHERS, NUM_TEACHERS), self._seen
        checkpoints = Counter(teacher for teacher, _, _ in self._seen["last"])
        assert checkpoints, "the watch is quick enough to see some"
        assert max(checkpoints.values()) <= TEACHER_EPOCHS, self._seen

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            for kind, seen in self._seen.items():
                for file in self._root.glob(f"teachers/*/{kind}-*.safetensors"):
                    with contextlib.suppress(FileNotFoundError):
                        status = file.stat()
                        seen.add((file.parent.name, status.st_ino, status.st_mtime_ns))


def test_a_killed_host_and_a_cut_link_lose_nothing(
    make_host: Callable[[str, str], Host], network: Network, spec: Path, tmp_path: Path, undisturbed: pa.Table
) -> None:
    head, first, second = members = [make_host(f"h{number}", f"10.77.0.{number}") for number in (1, 2, 3)]
    address = head.head(PORT, "--num-cpus=1", "--include-dashboard=false")
    first.join(address, "--num-cpus=1")
    second.join(address, "--num-cpus=1")
    for host in members:
        assert f"Local node IP: {host.address}\n" in plain(host.log())
    root = tmp_path / "results"
    with TeacherFiles(root) as teachers:
        sweep = driver(head, "launch", spec, "--root", root, "--address", address)
        eventually(lambda: hosts_at_work(root) == {"h1", "h2", "h3"}, 180, "every slot is used")
        first.kill()
        killed = time.time()
        eventually(lambda: epochs_after(root, "h3", killed + 1), 120, "the others go on")
        network.cut("h3")
        cut = time.time()
        assert 0 < num_epochs(root) < NUM_TRIALS * EPOCHS, "both faults came in the middle"
        assert sweep.wait(timeout=400) == 0, head.log("driver.log")
    assert_whole(head, root, undisturbed)
    teachers.assert_each_was_trained_once()
    assert len(rows(root, "SELECT DISTINCT host FROM teachers")) > 1, "the whole cluster trained them"
    said = head.log("driver.log")
    assert "3 CPUs, 0 GPUs; 3 trials at a time" in said
    lost = re.findall(r"trial (\w+) lost, goes on from its checkpoint: .* on (\S+) ", said)
    assert {first.address, second.address} == {where for _, where in lost}, said
    again = rows(root, "SELECT trial_id FROM trials WHERE attempts > 1")
    assert {row["trial_id"] for row in again} == {trial for trial, _ in lost}
    assert epochs_after(root, "h1", cut) > 0
    assert epochs_after(root, "h2", killed + LAG_S) == epochs_after(root, "h3", cut + LAG_S) == 0


def test_a_head_that_comes_back_goes_on_after_resume(
    make_host: Callable[[str, str], Host], network: Network, spec: Path, tmp_path: Path, undisturbed: pa.Table
) -> None:
    head, *workers = (make_host(f"h{number}", f"10.77.0.{number}") for number in (1, 2, 3))
    options = ("--num-cpus=1", "--include-dashboard=false")
    address = head.head(PORT, *options)
    for worker in workers:
        worker.join(address, "--num-cpus=1")
    root = tmp_path / "results"
    with TeacherFiles(root) as teachers:
        driver(head, "launch", spec, "--root", root, "--address", address)
        eventually(lambda: hosts_at_work(root) == {"h1", "h2", "h3"}, 180, "every slot is used")
        head.kill()
        # Another machine cannot see that the driver is dead; its lease says so after 30 s.
        statuses = "SELECT DISTINCT status FROM trials"
        eventually(lambda: {"status": "interrupted"} in rows(root, statuses), 120, "the driver's lease has ended")
        done = num_epochs(root)
        assert 0 < done < NUM_TRIALS * EPOCHS, "the head was killed in the middle"
        again = head.reborn()
        assert again.head(PORT, *options) == address
        resumed = time.time()
        sweep = driver(again, "resume", root / "spread", "--address", address)
        assert sweep.wait(timeout=400) == 0, again.log("driver.log")
    assert_whole(again, root, undisturbed)
    teachers.assert_each_was_trained_once()
    before = f"SELECT count(*) AS n FROM epochs WHERE epoch(finished_at) < {resumed}"
    assert rows(root, before)[0]["n"] == done, "what was recorded before the kill was not trained again"
    for worker in workers:
        assert epochs_after(root, worker.name, resumed), "the worker has joined the new head by itself"


def test_a_driver_whose_own_node_dies_ends_and_says_how_to_go_on(
    make_host: Callable[[str, str], Host], spec: Path, tmp_path: Path
) -> None:
    """Tune would wait for ever: what the driver has asked for is asked of nobody."""
    head, worker = (make_host(f"h{number}", f"10.77.0.{number}") for number in (1, 2))
    options = ("--num-cpus=1", "--include-dashboard=false")
    address = head.head(PORT, *options)
    worker.join(address, "--num-cpus=1")
    root = tmp_path / "results"
    sweep = driver(worker, "launch", spec, "--root", root, "--address", address)
    eventually(lambda: hosts_at_work(root) == {"h1", "h2"}, 90, "both slots are used")
    (raylet,) = worker.processes(str(Path(ray.__file__).with_name("core") / "src" / "ray" / "raylet" / "raylet"))
    os.kill(raylet, signal.SIGKILL)
    assert sweep.wait(timeout=60) == 1, worker.log("driver.log")
    reason = f"--address {address}: Ray on this machine has died, or was cut off from the rest"
    assert f"kd-sweep: {reason}; go on with: kd-sweep resume {root / 'spread'}" in worker.log("driver.log")
    assert {"status": "running"} not in rows(root, "SELECT DISTINCT status FROM trials")

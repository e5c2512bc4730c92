"""What a launch on a cluster says before it writes anything, against real heads and workers."""

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from kd_sweep.tables.reader import open_results
from tests.catalogue.modules import MARGIN, write_modules
from tests.cluster.hosts import Host, eventually, free_port, why_not

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(why_not(networks=False) is not None, reason=str(why_not(networks=False))),
]

REPOSITORY = Path(__file__).parents[2]
TOKEN = "0123456789abcdef0123456789abcdef"


def launch(
    host: Host, spec: Path, root: Path, address: str, *options: str, **environment: str
) -> CompletedProcess[str]:
    command = [sys.executable, "-m", "kd_sweep", "launch", str(spec), "--root", str(root), "--address", address]
    return host.run(*command, *options, timeout=120, PYTHONPATH=str(REPOSITORY), **environment)


ALIVE = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print("alive:", sum(node["Alive"] for node in ray.nodes()))
"""


def kill(host: Host, head: Host, address: str) -> None:
    """End a host, and wait until its head is alone: until then Ray lists the dead one too."""
    host.kill()
    eventually(
        lambda: "alive: 1\n" in head.run(sys.executable, "-c", ALIVE, address).stdout,
        120,
        f"{host.name} is listed dead",
    )


def assert_refused(done: CompletedProcess[str], root: Path, *parts: str) -> None:
    """One line and exit code 2, and nothing was written."""
    assert done.returncode == 2, done.stdout
    # What it did before has lines of its own.
    said = [line for line in done.stdout.splitlines() if line.startswith("kd-sweep: ")]
    assert said == done.stdout.splitlines()[-1:], done.stdout
    for part in parts:
        assert part in said[0], said[0]
    assert not root.exists() or not [path for path in root.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def guarded(make_host: Callable[..., Host], tmp_path_factory: pytest.TempPathFactory) -> tuple[Host, str]:
    """A head that asks for a token."""
    environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    head = make_host("guarded", tmp_path_factory.mktemp("hosts"), environment=environment)
    return head, head.head(free_port(), "--num-cpus=1", "--include-dashboard=false")


def test_a_study_runs_with_nothing_of_ours_installed_on_the_nodes(
    cluster: tuple[Host, str], tiny: Path, tmp_path: Path
) -> None:
    head, address = cluster
    assert "No module named 'kd_sweep'" in head.run(sys.executable, "-c", "import kd_sweep").stdout
    done = launch(head, tiny, tmp_path / "r", address)
    assert done.returncode == 0, done.stdout
    trials = open_results(tmp_path / "r").table("trials").to_pylist()
    assert [(row["status"], row["host"]) for row in trials] == [("completed", "head")] * 4
    assert not [path.name for path in (tmp_path / "r").iterdir() if "preflight" in path.name]


@pytest.mark.parametrize(
    ("mode", "token", "advice"),
    [
        ("disabled", "", "set RAY_AUTH_MODE=token"),
        ("token", "f" * 32, "another token"),
        ("token", "", "RAY_AUTH_TOKEN_PATH"),
    ],
)
def test_another_authentication_is_said_within_seconds(
    guarded: tuple[Host, str], tiny: Path, tmp_path: Path, mode: str, token: str, advice: str
) -> None:
    head, address = guarded
    started = time.monotonic()
    done = launch(head, tiny, tmp_path / "r", address, RAY_AUTH_MODE=mode, RAY_AUTH_TOKEN=token, HOME=str(tmp_path))
    assert time.monotonic() - started < 15
    assert_refused(done, tmp_path / "r", address, advice)


def test_the_right_token_is_let_in(guarded: tuple[Host, str], tiny: Path, tmp_path: Path) -> None:
    head, address = guarded
    done = launch(head, tiny, tmp_path / "r", address, "--set", "resources.cpus=2")
    assert_refused(done, tmp_path / "r", "resources.cpus", "at most 1")


def test_an_address_where_nothing_listens(cluster: tuple[Host, str], tiny: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    done = launch(cluster[0], tiny, tmp_path / "r", f"127.0.0.1:{free_port()}")
    assert time.monotonic() - started < 15
    assert_refused(done, tmp_path / "r", "nothing answers there")


def test_an_address_where_something_else_listens(cluster: tuple[Host, str], tiny: Path, tmp_path: Path) -> None:
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = launch(cluster[0], tiny, tmp_path / "r", f"127.0.0.1:{server.getsockname()[1]}")
    assert time.monotonic() - started < 30
    assert_refused(done, tmp_path / "r", "is no Ray head")


@pytest.mark.parametrize("address", ["http://127.0.0.1:8265", "ray://127.0.0.1:10001", "127.0.0.1", "head:port"])
def test_what_is_no_address(cluster: tuple[Host, str], tiny: Path, tmp_path: Path, address: str) -> None:
    assert_refused(launch(cluster[0], tiny, tmp_path / "r", address), tmp_path / "r", address, "HOST:PORT")


def test_more_than_any_node_has(cluster: tuple[Host, str], tiny: Path, tmp_path: Path) -> None:
    head, address = cluster
    asked = launch(head, tiny, tmp_path / "r", address, "--set", "resources.gpus=1")
    assert_refused(asked, tmp_path / "r", "resources.gpus", "at most 0")


def test_a_node_with_another_torch_is_named(
    make_host: Callable[..., Host], cluster: tuple[Host, str], tiny: Path, tmp_path: Path
) -> None:
    installed = tmp_path / "site" / "torch-9.9.9.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9.9\n")
    head, address = cluster
    other = make_host("newer", tmp_path, environment={"PYTHONPATH": str(installed.parent)})
    other.join(address, "--num-cpus=1", '--resources={"newer": 1}')
    try:
        done = launch(head, tiny, tmp_path / "r", address, "--set", "resources.custom={newer: 1}")
        assert_refused(done, tmp_path / "r", "(newer)", "torch is 9.9.9 there")
    finally:
        kill(other, head, address)


def test_a_node_without_memory_is_named(make_host: Callable[..., Host], tiny: Path, tmp_path: Path) -> None:
    # Ray takes a node's memory for full as soon as a hundredth of it is used.
    full = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "100"}
    tight = make_host("tight", tmp_path, environment=full)
    address = tight.head(free_port(), "--num-cpus=1", "--include-dashboard=false")
    try:
        assert_refused(launch(tight, tiny, tmp_path / "r", address), tmp_path / "r", "(tight)", "out of memory on")
    finally:
        tight.kill()


@pytest.mark.parametrize(
    ("mount", "complaint"),
    [
        (["-t", "tmpfs", "none"], "is not the same folder on node"),
        (["-o", "bind,ro"], "cannot write there"),
    ],
)
def test_a_node_that_does_not_share_the_root_is_named(
    make_host: Callable[..., Host],
    cluster: tuple[Host, str],
    tiny: Path,
    tmp_path: Path,
    mount: list[str],
    complaint: str,
) -> None:
    root = tmp_path / "r"
    root.mkdir()
    head, address = cluster
    alone = make_host("alone", tmp_path)
    alone.mount(*mount, *([str(root)] if "bind,ro" in mount else []), str(root))
    alone.join(address, "--num-cpus=1", '--resources={"alone": 1}')
    try:
        done = launch(head, tiny, root, address, "--set", "resources.custom={alone: 1}")
        assert_refused(done, root, complaint, "(alone)", str(root))
    finally:
        kill(alone, head, address)


def test_a_node_that_lacks_what_a_plugin_needs_is_named(cluster: tuple[Host, str], tiny: Path, tmp_path: Path) -> None:
    head, address = cluster
    (tmp_path / "installed").mkdir()
    write_modules(tmp_path / "installed", {"site-packages/onlyhere": ""})
    write_modules(tiny.parent, mykd="import onlyhere\n" + MARGIN)
    tiny.write_text(tiny.read_text() + 'plugins: [mykd]\ndistillation: {loss: "mykd:margin"}\n')
    path = f"{REPOSITORY}:{tmp_path / 'installed/site-packages'}"
    command = [
        sys.executable,
        "-m",
        "kd_sweep",
        "launch",
        str(tiny),
        "--root",
        str(tmp_path / "r"),
        "--address",
        address,
    ]
    done = head.run(*command, timeout=120, PYTHONPATH=path)
    assert_refused(done, tmp_path / "r", "node ", "module 'mykd' cannot be imported", "No module named 'onlyhere'")

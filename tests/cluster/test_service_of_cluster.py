"""A service in a pod of a Ray cluster, made of hosts on this machine: what is submitted there runs elsewhere."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import pytest

import kd_sweep
from kd_sweep import Study
from kd_sweep.errors import RemoteError
from kd_sweep.tables.reader import open_results
from tests.cluster.hosts import Host, eventually, free_port, why_not
from tests.cluster.recipes import CLUSTER
from tests.tiny_study import TINY

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(why_not(networks=False) is not None, reason=str(why_not(networks=False))),
]

REPOSITORY = CLUSTER.parent
NODES = """
import json, os, ray
ray.init(address=os.environ["HEAD"], log_to_driver=False)
print("nodes", json.dumps(sorted(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])))
"""
NUM_EPOCHS = 100
"""Many enough that the pod is gone before the study is done."""


def pod_on(make_host: Callable[..., Host], folder: Path) -> Host:
    return make_host("pod", folder / "hosts", environment={"PYTHONPATH": str(REPOSITORY)})


def serve(pod: Host, address: str, folder: Path, port: int) -> Popen[str]:
    """Start the script of the recipe; its log is `serve.log`."""
    script, options = str(CLUSTER / "service" / "serve_in_pod.sh"), ("--port", str(port))
    return pod.start(
        script, address, str(folder / "results"), "--state", str(folder / "state"), *options, log="serve.log"
    )


def connected(pod: Host, port: int) -> kd_sweep.RemoteResults:
    """Return the service in a pod, by the token that its first start prints."""
    eventually(lambda: "kds_" in pod.log("serve.log"), 120, "the service has printed its first token")
    return kd_sweep.connect(f"http://127.0.0.1:{port}", re.findall(r"^kds_\S+$", pod.log("serve.log"), re.MULTILINE)[0])


def study_of(folder: Path, num_epochs: int) -> Study:
    (folder / "tiny.yaml").write_text(TINY)
    return Study.from_file(folder / "tiny.yaml", ["search.ensemble_size.grid=[1]", f"student.epochs={num_epochs}"])


def test_a_study_of_a_service_in_a_pod_runs_on_the_nodes_of_its_cluster(
    make_host: Callable[..., Host], cluster: tuple[Host, str], tmp_path: Path
) -> None:
    head, address = cluster
    pod, port = pod_on(make_host, tmp_path), free_port()
    script = serve(pod, address, tmp_path, port)
    end = connected(pod, port).launch(study_of(tmp_path, 1))
    assert (end["state"], end["progress"]["num_completed"]) == ("finished", 2), pod.log("serve.log")
    sql = "SELECT DISTINCT host FROM epochs WHERE host IS NOT NULL"
    worked = open_results(tmp_path / "results").sql(sql).to_pylist()
    assert worked == [{"host": "head"}], "the pod's node has no CPU for a trial"
    nodes = head.run(sys.executable, "-c", NODES, HEAD=address)
    assert "nodes [0, 1.0]" in nodes.stdout, nodes.stdout

    (told,) = [pid for pid in pod.processes("bash") if b"serve_in_pod" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    began = time.monotonic()
    os.kill(told, signal.SIGTERM)
    assert script.wait(timeout=60) == 0, pod.log("serve.log")
    assert time.monotonic() - began < 50, "a pod has 60 s"
    assert pod.processes("ray", sys.prefix) == [], "the node has ended too"


def test_the_next_pod_goes_on_with_the_studies_of_one_that_is_gone(
    make_host: Callable[..., Host], cluster: tuple[Host, str], tmp_path: Path
) -> None:
    """With all its processes, as containers go; the next one has another process namespace."""
    _, address = cluster
    pod, port = pod_on(make_host, tmp_path), free_port()
    serve(pod, address, tmp_path, port)
    remote = connected(pod, port)
    remote.submit(study_of(tmp_path, NUM_EPOCHS))
    eventually(lambda: list(tmp_path.glob("results/tiny/checkpoints/*/last*")), 120, "a trial has a checkpoint")
    pod.kill()
    assert open_results(tmp_path / "results").table("epochs").num_rows < 2 * NUM_EPOCHS
    serve(pod.reborn(), address, tmp_path, port)
    eventually(lambda: is_up(remote), 60, "the next service answers")
    end = remote["tiny"].wait()
    assert (end["state"], end["progress"]["num_completed"]) == ("finished", 2), end
    assert len(list(tmp_path.glob("state/runs/*/driver.json"))) > 1
    assert open_results(tmp_path / "results").table("epochs").num_rows == 2 * NUM_EPOCHS


def is_up(remote: kd_sweep.RemoteResults) -> bool:
    try:
        return remote.whoami()["role"] == "admin"
    except RemoteError:
        return False

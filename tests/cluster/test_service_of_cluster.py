"""A service in a pod of a Ray cluster, made of hosts on this machine: what is submitted there runs elsewhere."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import kd_sweep
from kd_sweep import Study
from kd_sweep.tables.reader import open_results
from tests.cluster.hosts import Host, eventually, free_port, hosts, why_not
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
print("nodes", json.dumps([node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]]))
"""


@pytest.fixture
def make_host() -> Iterator[Callable[..., Host]]:
    with hosts() as make:
        yield make


def test_a_study_of_a_service_in_a_pod_runs_on_the_nodes_of_its_cluster(
    make_host: Callable[..., Host], tmp_path: Path
) -> None:
    head = make_host("head", tmp_path / "hosts")
    address = head.head(free_port(), "--num-cpus=1", "--include-dashboard=false")
    pod = make_host("pod", tmp_path / "hosts", environment={"PYTHONPATH": str(REPOSITORY)})
    root, port = tmp_path / "results", free_port()
    options = ("--state", str(tmp_path / "state"), "--port", str(port))
    script = pod.start(str(CLUSTER / "service" / "serve_in_pod.sh"), address, str(root), *options, log="serve.log")
    eventually(lambda: "kds_" in pod.log("serve.log"), 120, "the service has printed its first token")
    token = re.findall(r"^kds_\S+$", pod.log("serve.log"), re.MULTILINE)[0]
    remote = kd_sweep.connect(f"http://127.0.0.1:{port}", token)

    (tmp_path / "tiny.yaml").write_text(TINY)
    study = Study.from_file(tmp_path / "tiny.yaml", ["search.ensemble_size.grid=[1]", "student.epochs=1"])
    end = remote.launch(study)
    assert (end["state"], end["progress"]["num_completed"]) == ("finished", 2), pod.log("serve.log")
    worked = open_results(root).sql("SELECT DISTINCT host FROM epochs WHERE host IS NOT NULL").to_pylist()
    assert worked == [{"host": "head"}], "the pod's node has no CPU for a trial"
    nodes = head.run(sys.executable, "-c", NODES, HEAD=address)
    assert "nodes [1.0, 0]" in nodes.stdout or "nodes [0, 1.0]" in nodes.stdout, nodes.stdout

    (told,) = [pid for pid in pod.processes("bash") if b"serve_in_pod" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    began = time.monotonic()
    os.kill(told, signal.SIGTERM)
    assert script.wait(timeout=60) == 0, pod.log("serve.log")
    assert time.monotonic() - began < 50, "a pod has 60 s"
    assert pod.processes("ray", sys.prefix) == [], "the node has ended too"

"""The recipes in `cluster/` are well-formed by the rules of those who read them."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cluster.hosts import eventually, free_port
from tests.cluster.recipes import CLUSTER, DEFINITIONS, on_path, read, validate, variables

SCRIPTS = sorted(path for path in CLUSTER.rglob("*") if path.suffix in (".sh", ".sbatch"))
MANIFESTS = {"raycluster.yaml": "ray.io_rayclusters.yaml", "rayjob.yaml": "ray.io_rayjobs.yaml"}
FAILURES_NOTICED = {"period_ms": "1000", "timeout_ms": "2000", "failure_threshold": "3"}


def pods(manifest: Any) -> tuple[Any, list[Any]]:
    """Return the head's pod template and the workers'."""
    spec = manifest["spec"].get("rayClusterSpec", manifest["spec"])
    return spec["headGroupSpec"]["template"], [group["template"] for group in spec["workerGroupSpecs"]]


@pytest.mark.skipif(not DEFINITIONS.is_dir(), reason=f"no KubeRay definitions in {DEFINITIONS}")
@pytest.mark.parametrize("name", MANIFESTS)
class TestManifests:
    def test_it_fits_the_definition(self, name: str) -> None:
        validate(read(CLUSTER / "kubernetes" / name), MANIFESTS[name])

    @pytest.mark.parametrize(
        ("key", "value"), [("rayStartParam", {}), ("template", None), ("rayStartParams", {"num-cpus": 0})]
    )
    def test_a_slip_in_it_is_found(self, name: str, key: str, value: Any) -> None:
        manifest = read(CLUSTER / "kubernetes" / name)
        spec = manifest["spec"].get("rayClusterSpec", manifest["spec"])
        spec["headGroupSpec"][key] = value
        with pytest.raises(jsonschema.ValidationError):
            validate(manifest, MANIFESTS[name])


@pytest.mark.parametrize("name", MANIFESTS)
def test_pods_agree_and_workers_may_be_lost(name: str) -> None:
    head, workers = pods(read(CLUSTER / "kubernetes" / name))
    assert head["spec"]["nodeSelector"] == {"kd-sweep/lifetime": "on-demand"}
    for worker in workers:
        assert variables(worker) == variables(head), "authentication and health checks must be the same everywhere"
        (container,) = worker["spec"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert worker["spec"]["nodeSelector"] == {"kd-sweep/lifetime": "spot"}
        assert worker["spec"]["terminationGracePeriodSeconds"] >= 30
        claims = [volume.get("persistentVolumeClaim") for volume in worker["spec"]["volumes"]]
        assert read(CLUSTER / "kubernetes" / "storage.yaml")["metadata"]["name"] in [
            claim["claimName"] for claim in claims if claim
        ]
    assert "RAY_AUTH_MODE" in variables(head)
    assert {key: variables(head)[f"RAY_health_check_{key}"] for key in FAILURES_NOTICED} == FAILURES_NOTICED


def test_the_autoscaler_accepts_its_file() -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    config = util.prepare_config(read(CLUSTER / "aws" / "cluster.yaml"))
    util.validate_config(config)
    types = config["available_node_types"]
    assert types[config["head_node_type"]]["resources"] == {"CPU": 0}
    assert "InstanceMarketOptions" not in types[config["head_node_type"]]["node_config"], "the head must stay"
    assert types["spot_gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    config["available_node_types"]["spot_gpu"]["max_worker"] = 3
    with pytest.raises(Exception, match="max_worker"):
        util.validate_config(config)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_parses_and_fails_at_the_first_error(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    assert "\t" not in text
    if script.name != "settings.sh":  # read by the others
        assert text.startswith("#!/usr/bin/env bash\n")
        assert "\nset -euo pipefail\n" in text
        assert script.stat().st_mode & 0o111


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    command = ["shellcheck", "--shell=bash", "--external-sources", f"--source-path={script.parent}", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", ["onprem", "slurm", "kubernetes", "aws", "service"])
def test_every_recipe_has_a_readme_that_names_its_files(folder: str) -> None:
    readme = (CLUSTER / folder / "README.md").read_text()
    for path in (CLUSTER / folder).iterdir():
        if path.name not in ("README.md", "settings.sh"):
            assert path.name in readme


DRIVER = """#!/usr/bin/env bash
trap 'exit {code}' TERM
echo "$@" > {folder}/driver
while [ ! -e {folder}/end ]; do sleep 0.05; done
exit {code}
"""
RAY = "import socket, sys, time; s = socket.create_server(('', int(sys.argv[1]))); time.sleep(60)"


@pytest.mark.parametrize(("code", "reported"), [(0, 0), (1, 1), (2, 2), (3, 0)])
def test_a_job_of_kubernetes_is_not_tried_again_for_trials_that_failed(
    tmp_path: Path, code: int, reported: int
) -> None:
    environment = on_path(tmp_path, kd_sweep=f'#!/bin/sh\necho "$@"\nexit {code}\n')
    command = [CLUSTER / "kubernetes" / "launch.sh", "a study.yaml", "--root", "/results"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == reported
    assert done.stdout == "launch a study.yaml --root /results\n"


def test_a_job_of_kubernetes_that_is_stopped_waits_for_its_sweep(tmp_path: Path) -> None:
    environment = on_path(
        tmp_path, kd_sweep=DRIVER.format(code=1, folder=tmp_path).replace("exit 1'", "touch $0.ended; exit 1'")
    )
    process = subprocess.Popen([CLUSTER / "kubernetes" / "launch.sh"], env=environment, start_new_session=True)
    eventually(lambda: (tmp_path / "driver").exists(), 10, "the sweep has begun")
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(timeout=10) == 1
    assert (tmp_path / "kd-sweep.ended").exists()


def test_the_job_of_kubernetes_runs_that_script() -> None:
    spec = read(CLUSTER / "kubernetes" / "rayjob.yaml")["spec"]
    program, *_ = spec["entrypoint"].split()
    copied = (CLUSTER / "kubernetes" / "Dockerfile").read_text().split("COPY --chown=ray:users . ")[1].split()[0]
    assert (CLUSTER.parent / Path(program).relative_to(copied)).is_file()
    assert not set("$'\"|;&") & set(spec["entrypoint"]), "KubeRay passes it through two shells"


def in_slurm(folder: Path, code: int) -> dict[str, str]:
    """Return a job's environment; its sweep ends with this code when `end` appears, and when it is told to end."""
    job = free_port()
    environment = on_path(
        folder,
        kd_sweep=DRIVER.format(code=code, folder=folder),
        ray=f'#!/bin/sh\nexec {sys.executable} -c "{RAY}" {20000 + job % 20000}\n',
        scontrol=f'#!/bin/sh\necho "$@" > {folder}/requeued\n',
    )
    alone = {"SLURM_JOB_NODELIST": "here", "SLURM_CPUS_ON_NODE": "1", "SLURM_JOB_NUM_NODES": "1"}
    return environment | alone | {"SLURM_JOB_ID": str(job)}


@pytest.mark.parametrize(
    ("code", "reported", "is_requeued"), [(0, 0, False), (1, 0, True), (2, 2, False), (3, 3, False), (143, 0, True)]
)
def test_a_job_of_slurm_is_requeued_at_its_limit_unless_its_sweep_has_ended(
    tmp_path: Path, code: int, reported: int, is_requeued: bool
) -> None:
    command = [CLUSTER / "slurm" / "sweep.sbatch", "study.yaml", tmp_path / "results"]
    process = subprocess.Popen(command, env=in_slurm(tmp_path, code), stdout=subprocess.DEVNULL)
    try:
        eventually(lambda: (tmp_path / "driver").exists(), 20, "the sweep has begun")
        process.send_signal(signal.SIGUSR1)
        assert process.wait(timeout=20) == reported
    finally:
        (tmp_path / "end").touch()
    assert (tmp_path / "requeued").exists() == is_requeued


@pytest.mark.parametrize("code", [0, 3])
def test_a_job_of_slurm_ends_with_the_exit_code_of_its_sweep(tmp_path: Path, code: int) -> None:
    (tmp_path / "end").touch()
    command = [CLUSTER / "slurm" / "sweep.sbatch", "study.yaml", tmp_path / "results"]
    assert subprocess.run(command, env=in_slurm(tmp_path, code), capture_output=True, check=False).returncode == code

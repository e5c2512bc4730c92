"""The Slurm script on a real slurmctld and slurmd of this machine."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kd_sweep.errors import KdSweepError
from kd_sweep.tables.reader import open_results
from tests.cluster.hosts import eventually, free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
MISSING = [program for program in PROGRAMS if shutil.which(program) is None]

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (Debian: slurm-wlm, munge)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="slurmd needs root"),
]

REPOSITORY = Path(__file__).parents[2]
EPOCHS = 150
SPEC = f"""
name: queued
data: {{name: digits, image_size: 8, max_train_images: 600, max_val_images: 100}}
teacher: {{model: resnet8, width: 4, epochs: 2}}
student: {{model: resnet8, width: 4, epochs: {EPOCHS}}}
search:
  augmentation_strength: {{grid: [0.0, 0.5]}}
  ensemble_size: 1
  seed: {{grid: [0, 1, 2]}}
"""
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmctldPort={controller}
SlurmdPort={node}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
ReturnToService=2
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Yield an environment in which Slurm's commands reach a cluster of this machine alone."""
    folder = tmp_path / "slurm"
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    folder.chmod(0o755)
    host = subprocess.run(["hostname", "-s"], capture_output=True, text=True, check=True).stdout.strip()
    configuration = folder / "slurm.conf"
    ports = {"controller": free_port(), "node": free_port()}
    configuration.write_text(CONFIGURATION.format(host=host, folder=folder, **ports))
    environment = os.environ | {
        "SLURM_CONF": str(configuration),
        "PATH": f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "COLUMNS": "200",
    }
    environment.pop("RAY_ADDRESS", None)
    munge = ["--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={key}"]
    munge += [f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed"]
    daemons = []
    try:
        for command in (
            ["munged", *munge],
            ["slurmctld", "-D", "-c", "-f", str(configuration)],
            ["slurmd", "-D", "-f", str(configuration)],
        ):
            with (folder / f"{command[0]}.out").open("w") as output:
                daemons.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
            time.sleep(1)
        eventually(lambda: "idle" in run(environment, "sinfo", "-h", "-o", "%T"), 30, "the node is idle")
        yield environment
    finally:
        # A job that has not ended must not outlive its slurmd.
        run(environment, "scancel", "--full", "--user=root")
        with contextlib.suppress(AssertionError):
            eventually(lambda: not run(environment, "squeue", "--noheader").strip(), 90, "no job is left")
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=20)


@pytest.fixture
def on_path(tmp_path: Path) -> None:
    """Put a `kd-sweep` on the path that runs this repository's code."""
    script = tmp_path / "bin" / "kd-sweep"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m kd_sweep "$@"\n')
    script.chmod(0o755)


def run(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


def test_a_study_is_stopped_by_the_time_limit_requeued_and_finished(
    slurm: dict[str, str], on_path: None, tmp_path: Path
) -> None:
    spec, root, log = tmp_path / "queued.yaml", tmp_path / "results", tmp_path / "log"
    spec.write_text(SPEC)
    script = REPOSITORY / "cluster" / "slurm" / "sweep.sbatch"
    asked = ["--time=30", "--signal=B:USR1@120", "--cpus-per-task=2", f"--output={log}", "--parsable", "--chdir=/"]
    job = run(slurm, "sbatch", *asked, str(script), str(spec), str(root)).strip()
    assert job.isdigit(), job

    def told(what: str) -> str:
        found = re.search(rf"\b{what}=(\S+)", run(slurm, "scontrol", "show", "job", job))
        return found[1] if found else ""

    def state() -> str:
        return told("JobState")

    def change(*settings: str) -> None:
        assert run(slurm, "scontrol", "update", f"JobId={job}", *settings) == ""

    def rows() -> int:
        with contextlib.suppress(KdSweepError):
            return open_results(root).table("epochs").num_rows
        return 0

    def said() -> str:
        return log.read_text() if log.exists() else ""

    # How soon the study is in the middle depends on the machine: its limit is set when it is, one to two minutes ahead.
    eventually(rows, 300, "the study has begun")
    hours, minutes, _ = map(int, told("RunTime").split(":"))
    change(f"TimeLimit={60 * hours + minutes + 2}")
    eventually(lambda: f"requeueing job {job}" in said(), 150, "the time limit's signal has come")
    eventually(lambda: state() == "PENDING", 60, "the job is back in the queue")
    done = rows()
    assert 0 < done < 6 * EPOCHS, "the study was stopped in the middle"
    assert set(open_results(root).table("trials")["status"].to_pylist()) & {"interrupted"}
    change("TimeLimit=30", "StartTime=now")  # Slurm holds a requeued job back for two minutes
    eventually(lambda: state() in ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"), 800, "the job has ended")
    assert state() == "COMPLETED", said()
    assert "restart 1" in said()
    epochs = open_results(root).table("epochs")
    found = sorted(zip(epochs["trial_id"].to_pylist(), epochs["epoch"].to_pylist(), strict=True))
    assert len(found) == 6 * EPOCHS
    assert found == sorted((trial, epoch) for trial in {trial for trial, _ in found} for epoch in range(1, EPOCHS + 1))
    assert set(open_results(root).table("trials")["status"].to_pylist()) == {"completed"}
    verified = run(slurm, "kd-sweep", "verify", str(root))
    assert "0 problems" in verified, verified

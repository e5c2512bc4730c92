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
from typing import NamedTuple

import pytest

from kd_sweep.errors import KdSweepError
from kd_sweep.tables.reader import open_results
from tests.catalogue import all_kinds
from tests.catalogue.modules import write_modules
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
SPEC = all_kinds.study(
    "queued",
    "seeds: 3\nsearch: {augmentation_strength: {grid: [0.0, 0.5]}}",
    num_points=2,
    epochs=EPOCHS,
    channels=12,
)
"""With an entry of each kind of a plug-in."""
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


def written_key(folder: Path) -> Path:
    """Return a key of munge in a folder that all may enter, both new."""
    folder.mkdir()
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    return key


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Yield an environment in which Slurm's commands reach a cluster of this machine alone."""
    folder = tmp_path / "slurm"
    key = written_key(folder)
    for name in ("state", "spool"):
        (folder / name).mkdir()
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
    files = {"socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log", "seed-file": "munged.seed"}
    munge = ["--foreground", "--force", f"--key-file={key}", *(f"--{key}={folder / f}" for key, f in files.items())]
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


class Job(NamedTuple):
    """A job of the cluster."""

    cluster: dict[str, str]
    number: str

    def told(self, what: str) -> str:
        """Return one of the things that Slurm says of it."""
        found = re.search(rf"\b{what}=(\S+)", run(self.cluster, "scontrol", "show", "job", self.number))
        return found[1] if found else ""

    @property
    def state(self) -> str:
        return self.told("JobState")

    def change(self, *settings: str) -> None:
        assert run(self.cluster, "scontrol", "update", f"JobId={self.number}", *settings) == ""


def num_epochs(root: Path) -> int:
    with contextlib.suppress(KdSweepError):
        return open_results(root).table("epochs").num_rows
    return 0


def test_a_study_is_stopped_by_the_time_limit_requeued_and_finished(
    slurm: dict[str, str], on_path: None, tmp_path: Path
) -> None:
    spec, root, log = tmp_path / "queued.yaml", tmp_path / "results", tmp_path / "log"
    spec.write_text(SPEC)
    write_modules(tmp_path, all_kinds.MODULES)
    script = REPOSITORY / "cluster" / "slurm" / "sweep.sbatch"
    asked = ["--time=30", "--signal=B:USR1@120", "--cpus-per-task=2", f"--output={log}", "--parsable", "--chdir=/"]
    job = Job(slurm, run(slurm, "sbatch", *asked, str(script), str(spec), str(root)).strip())
    assert job.number.isdigit(), job.number

    def said() -> str:
        return log.read_text() if log.exists() else ""

    # How soon the study is in the middle depends on the machine: its limit is set when it is, one to two minutes ahead.
    eventually(lambda: num_epochs(root), 300, "the study has begun")
    hours, minutes, _ = map(int, job.told("RunTime").split(":"))
    job.change(f"TimeLimit={60 * hours + minutes + 2}")
    eventually(lambda: f"requeueing job {job.number}" in said(), 150, "the time limit's signal has come")
    eventually(lambda: job.state == "PENDING", 60, "the job is back in the queue")
    assert 0 < num_epochs(root) < 6 * EPOCHS, "the study was stopped in the middle"
    assert set(open_results(root).table("trials")["status"].to_pylist()) & {"interrupted"}
    job.change("TimeLimit=30", "StartTime=now")  # Slurm holds a requeued job back for two minutes
    eventually(lambda: job.state in ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"), 800, "the job has ended")
    assert job.state == "COMPLETED", said()
    assert "restart 1" in said()
    epochs = open_results(root).table("epochs")
    found = sorted(zip(epochs["trial_id"].to_pylist(), epochs["epoch"].to_pylist(), strict=True))
    assert len(found) == 6 * EPOCHS
    assert found == sorted((trial, epoch) for trial in {trial for trial, _ in found} for epoch in range(1, EPOCHS + 1))
    assert set(open_results(root).table("trials")["status"].to_pylist()) == {"completed"}
    verified = run(slurm, "kd-sweep", "verify", str(root))
    assert "0 problems" in verified, verified

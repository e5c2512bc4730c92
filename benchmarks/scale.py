"""The driver alone: thousands of trials that only sleep and report, on logical slots of several nodes.

The driver is the real one, from `launch` on a cluster to its tables. The processes of its trials are Ray's, with a
`TrialActor` whose steps sleep for an epoch instead of training it, and report one number for every metric. What the
driver's process computes is counted, in CPU seconds from the end of the first trial to that of the last, and the most
memory that it had; what workers and daemons compute is not. Each number of trials has a driver of its own.

Run: python benchmarks/scale.py --trials 1000 10000 --epochs 2 10
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}

from rich.console import Console
from rich.table import Table

from kd_sweep.driver.events import TrialEnded
from kd_sweep.driver.launch import launch
from kd_sweep.driver.tune import sweep
from kd_sweep.driver.tune.trainable import Step, TrialActor
from kd_sweep.driver.tune.tune_trial import ASSIGNMENT
from kd_sweep.driver.worker_messages import Assignment, EpochDone, EpochReport
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.metric_catalogue import METRICS_VERSION, REPORTED_METRICS
from kd_sweep.tables.reader import open_results

STUDY = """
name: scale
data: {name: digits, image_size: 8, max_train_images: 64, max_val_images: 20}
teacher: {model: resnet8, width: 1, epochs: 1}
student: {model: resnet8, width: 1, epochs: NUM_EPOCHS}
search: {distillation.temperature: {uniform: [1, 10]}}
sampler: {name: random, num_trials: NUM_TRIALS}
"""
EPOCH_S = "KD_SWEEP_SLEEPING_EPOCH_S"
NUM_PARTS = 4
"""Of a run, whose costs are compared: whether a trial costs more the more there have been."""


class SleepingActor(TrialActor):
    """Trains teachers, and sleeps where a trial trains."""

    def setup(self, config: dict[str, Any]) -> None:
        """Remember what to run."""
        super().setup(config)
        if isinstance(config[ASSIGNMENT], Assignment):
            self._steps = sleeping_steps(config)


def sleeping_steps(config: Mapping[str, Any]) -> Iterator[Step]:
    """Yield the epochs of a trial, each after as long as it was asked to take."""
    num_epochs = config[ASSIGNMENT].trial.student.epochs
    for epoch in range(1, num_epochs + 1):
        time.sleep(float(os.environ[EPOCH_S]))
        row = dict.fromkeys(REPORTED_METRICS, 0.5) | {"epoch": epoch, "metrics_version": METRICS_VERSION}
        row |= {"learning_rate": 0.1, "epoch_s": 1.0, "train_images_per_s": 1e3}
        yield EpochDone(EpochReport.of_row(row, host="sleeping", pid=os.getpid())), epoch == num_epochs


class Meter:
    """What the driver's process has computed when so many of its trials have ended."""

    def __init__(self, num_trials: int) -> None:
        self._marks = {num_trials * part // NUM_PARTS for part in range(1, NUM_PARTS + 1)}
        self._num_ended = 0
        self.points: list[tuple[int, float, float]] = []
        """Trials that have ended, CPU seconds, wall seconds; the first when the first has ended."""

    def __call__(self, event: object) -> None:
        if isinstance(event, TrialEnded):
            self._num_ended += 1
            if self._num_ended in self._marks or not self.points:
                self.points.append((self._num_ended, time.process_time(), time.monotonic()))


def drive(root: Path, address: str, num_trials: int, num_epochs: int) -> dict[str, Any]:
    """Run one study in this process and return what it cost."""
    sweep.TrialActor = SleepingActor  # type: ignore[misc]  # the one part that is not the real one
    text = STUDY.replace("NUM_TRIALS", str(num_trials)).replace("NUM_EPOCHS", str(num_epochs))
    meter = Meter(num_trials)
    with contextlib.redirect_stderr(sys.stdout):
        launch(parse_spec(text, "benchmark"), root, address, meter)
    results = open_results(root)
    trials, epochs = results.table("trials"), results.table("epochs")
    completed = sum(status == "completed" for status in trials["status"].to_pylist())
    parts = [
        (cpu - cpu_before) / (ended - before)
        for (before, cpu_before, _), (ended, cpu, _) in zip(meter.points, meter.points[1:], strict=False)
    ]
    (first, cpu_first, began), (last, cpu_last, ended) = meter.points[0], meter.points[-1]
    return {
        "cpu_s_per_trial": (cpu_last - cpu_first) / (last - first),
        "cpu_s_per_trial_by_part": parts,
        "trials_per_s": (last - first) / (ended - began),
        "cores": (cpu_last - cpu_first) / (ended - began),
        "max_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "rows_lost": num_trials - completed + num_trials * num_epochs - epochs.num_rows,
    }


@contextlib.contextmanager
def cluster(num_nodes: int, num_slots: int) -> Iterator[str]:
    """Start Ray with so many nodes on this machine, whose slots are no more than numbers, and yield its address."""
    from ray.cluster_utils import Cluster

    of_each = {"num_cpus": num_slots // num_nodes, "include_dashboard": False, "object_store_memory": 128 * 1024**2}
    nodes = Cluster(initialize_head=True, head_node_args=of_each)
    try:
        for _ in range(num_nodes - 1):
            nodes.add_node(**of_each)
        nodes.wait_for_nodes()
        yield nodes.address
    finally:
        nodes.shutdown()


def main() -> None:
    """Measure each number of trials in turn and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[1000])
    parser.add_argument("--epochs", type=int, nargs="+", default=[2])
    parser.add_argument("--epoch-s", type=float, default=1.0, help="how long a trial sleeps for an epoch")
    parser.add_argument("--slots", type=int, default=64)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--drive", nargs=2, metavar=("ROOT", "ADDRESS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        root, address = given.drive
        print(json.dumps(drive(Path(root), address, given.trials[0], given.epochs[0])))
        return
    os.environ[EPOCH_S] = str(given.epoch_s)
    table = Table(title=f"the driver of sleeping trials on {given.slots} slots of {given.nodes} nodes")
    for heading in ("trials", "epochs", "ms a trial", "by quarter", "trials/s", "cores", "MiB", "rows lost"):
        table.add_column(heading, justify="right")
    with cluster(given.nodes, given.slots) as address:
        for num_trials in given.trials:
            for num_epochs in given.epochs:
                cost = _apart(address, num_trials, num_epochs)
                by_part = " ".join(f"{part * 1e3:.1f}" for part in cost["cpu_s_per_trial_by_part"])
                table.add_row(
                    *(f"{num_trials:,}", f"{num_epochs}", f"{cost['cpu_s_per_trial'] * 1e3:.1f}", by_part),
                    *(f"{cost['trials_per_s']:.1f}", f"{cost['cores']:.2f}", f"{cost['max_bytes'] / 2**20:.0f}"),
                    f"{cost['rows_lost']}",
                )
    Console().print(table)


def _apart(address: str, num_trials: int, num_epochs: int) -> dict[str, Any]:
    """Measure in a process of its own, so that no run's memory is counted with another's."""
    with tempfile.TemporaryDirectory() as root:
        command = [sys.executable, __file__, "--drive", root, address]
        command += ["--trials", str(num_trials), "--epochs", str(num_epochs)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    cost: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return cost


if __name__ == "__main__":
    main()

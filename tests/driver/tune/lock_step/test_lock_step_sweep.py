"""Whole sweeps whose students learn in lock step: real Ray, real training, real processes that are killed."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
import torch

from kd_sweep.distill.checkpoints import CHECKPOINTS, LAST
from kd_sweep.storage.tensor_files import read_tensors
from kd_sweep.tables.reader import open_results
from tests.catalogue.modules import write_modules
from tests.command_line import Run, Start, environment
from tests.comparing_tables import comparable
from tests.latest import latest
from tests.polling import until
from tests.warm_python import run_warm

pytestmark = pytest.mark.slow

MARK = "KD_SWEEP_TEST_OF_LOCK_STEP"
"""A variable of the environment, which all processes of a sweep inherit."""
ON = ("--set", "resources.lock_step=true")


TRIALS, SHARED = (b"ray::TrialActor", b"ray::ResourceTrainable"), (b"ray::SharedProcess",)
"""How the command lines of processes begin: of trials, and of those that they share."""


def processes(kind: tuple[bytes, ...], mark: str) -> list[int]:
    """Return the processes of a sweep of a kind."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_it = (entry / "cmdline").read_bytes().startswith(kind)
            if is_it and f"{MARK}={mark}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended
    return found


def test_killed_processes_cost_no_row_and_all_is_as_without_lock_step(
    uninterrupted: Path, with_teachers: Path, tiny: Path, start_kd_sweep: Start
) -> None:
    """One of a trial, which another trial of the group outlives, and in the group after it the one that they share."""
    root, mark = with_teachers, with_teachers.parent.name
    trials = root / "tiny" / CHECKPOINTS
    sweep = start_kd_sweep("launch", tiny, "--root", root, *ON, cpus=2, variables={MARK: mark}, forks_workers=False)
    for num_trials, kind in ((1, TRIALS), (3, SHARED)):
        until(lambda at=num_trials: len(list(trials.glob("*/last-*.safetensors"))) >= at, interval_s=0.005)
        assert not any("libtorch" in Path(f"/proc/{pid}/maps").read_text() for pid in processes(TRIALS, mark))
        os.kill(processes(kind, mark)[0], signal.SIGKILL)
    output, _ = sweep.communicate(timeout=120)
    assert sweep.returncode == 0, output
    lost = re.findall(r"trial (\w+) lost, goes on from its checkpoint: (.*)", output)
    assert 2 <= len(lost) <= 3, output
    assert {why for _, why in lost} == {
        "the trial's process on 127.0.0.1 was killed or crashed; the kernel does that too when memory runs out"
    }
    for table in ("epochs", "trials", "teachers"):
        assert comparable(root, table).equals(comparable(uninterrupted, table)), table
    for folder in trials.iterdir():
        tensors, _ = read_tensors(latest(folder, LAST), kind="checkpoint")
        expected, _ = read_tensors(latest(uninterrupted / "tiny" / CHECKPOINTS / folder.name, LAST), kind="checkpoint")
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[name], expected[name]) for name in tensors)


NETWORK = """
import json
import os
from pathlib import Path
import kd_sweep
from kd_sweep.catalogue.decorators import stopping_rule
from kd_sweep.distill.teacher_logits import LogitCache
from torch import nn

LogitCache.keeps = lambda *_: False  # as where a dataset is large


class Counted(nn.Conv2d):
    def forward(self, images_BDHW):
        if not self.training and not self.weight.requires_grad:
            with (Path(os.environ["COUNTS"]) / str(os.getpid())).open("a") as counts:
                counts.write(f"{len(images_BDHW)}\\n")
        return super().forward(images_BDHW)


@kd_sweep.network("counted")
def counted(num_classes, channels, *_):
    convolution = Counted(channels, 8, 3, padding=1)
    return nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))


@stopping_rule("second")
class Second:
    def __init__(self, parameters, longest):
        pass

    def stops(self, history, trial_id):
        return history.last_epoch(trial_id) == 2 and len(history.at_epoch(2)) == 2
"""
"""A network that counts images, answers that are not kept, a rule that stops the second trial in its second epoch."""

STUDY = """
name: halved
plugins: [network]
data: {name: digits, image_size: 8, max_train_images: 200, max_val_images: 100}
teacher: {model: "network:counted", epochs: 1}
student: {model: "network:counted", epochs: 6}
search:
  student.learning_rate: {grid: [0.2, 0.00001]}
  ensemble_size: 2
scheduler: {name: "network:second"}
"""
EPOCHS, NUM_TRAIN, NUM_VAL, CLEAN_PASSES = 6, 200, 100, 2


def test_one_that_is_stopped_leaves_and_each_teacher_sees_each_batch_once(
    tmp_path: Path, kd_sweep: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counts").mkdir()
    monkeypatch.setenv("COUNTS", str(tmp_path / "counts"))
    write_modules(tmp_path, network=NETWORK)
    (tmp_path / "halved.yaml").write_text(STUDY)
    done = kd_sweep("launch", tmp_path / "halved.yaml", "--root", tmp_path / "results", *ON, cpus=2)
    assert done.returncode == 0, done.stderr
    results = open_results(tmp_path / "results")
    trials = results.table("trials").to_pylist()
    assert {row["status"]: row["last_epoch"] for row in trials} == {"stopped": 2, "completed": EPOCHS}
    assert len(set(results.table("epochs")["pid"].to_pylist())) == 1
    seen = sum(int(line) for file in (tmp_path / "counts").iterdir() for line in file.read_text().split())
    assert seen == 2 * (EPOCHS * (NUM_TRAIN + NUM_VAL) + CLEAN_PASSES * NUM_VAL)


PLACES = """
import json, os
import ray
from kd_sweep.driver.tune.lock_step.shared_process import Caller, SharedProcesses
from kd_sweep.study.spec import Resources

ray.init(num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False)


@ray.remote(num_cpus=1, num_gpus=0.5)
class Trial:
    def wanted(self):
        self.caller = Caller()
        return self.caller.find_process()

    def found(self):
        return self.caller.find_process() is None


def seen_by(process):
    return os.environ["CUDA_VISIBLE_DEVICES"]


trials = [Trial.remote() for _ in range(4)]
wanted = ray.get([trial.wanted.remote() for trial in trials])
processes = SharedProcesses(Resources(gpus=0.5, lock_step=True), 4)
for one in wanted:
    processes.start(one)
found = ray.get([trial.found.remote() for trial in trials])
visible = ray.get([process.__ray_call__.remote(seen_by) for process in processes.handles])
print(json.dumps([sorted(one.gpus for one in wanted), found, sorted(visible)]))
"""


def test_trials_of_one_gpu_share_a_process_that_sees_it_alone(tmp_path: Path) -> None:
    """With GPUs that Ray is told of; torch is not asked."""
    done = run_warm(PLACES, tmp_path, {**environment(), "RAY_AUTH_MODE": "disabled", "RAY_OVERRIDE_RESOURCES": "{}"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [["0", "0", "1", "1"], [True] * 4, ["0", "1"]]

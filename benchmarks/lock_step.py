"""Students of one stream: one after another, packed as processes, and in lock step in one process.

The same students, of ensembles of one to all of the teachers, are trained in each way by the science alone, without
Ray: training, evaluation, checkpoints. Once with answers of teachers kept for an epoch, as they are where they take up
to 256 MB, and once without, as with ImageNet. Teachers have random weights, images are noise: neither changes what a
step costs. Prints a table. Fails if rows of the ways differ on a CPU, or a teacher in lock step sees an image twice.

`of peak` is the arithmetic of the students' steps and the teachers' passes over training images, which somebody has to
do, against what a multiplication of large matrices reaches here in the same precision. On a CPU times are CPU seconds
of all processes.

Needs torch, torchvision, numpy, scipy, pyarrow and pydantic, and no other part of kd_sweep's requirements.

    python -m benchmarks.lock_step                          small, on the CPU
    python -m benchmarks.lock_step --device cuda            larger; made to end within eight minutes
    python -m benchmarks.lock_step --device cuda --precision bfloat16 --model resnet18 --width 64
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

import benchmarks.peer.drawn_images  # noqa: F401
from kd_sweep.distill.ensembles.member import Member
from kd_sweep.distill.students.lock_step_trials import epochs_in_lock_step
from kd_sweep.distill.teacher_logits import LogitCache
from kd_sweep.distill.teachers import ensure_teacher
from kd_sweep.distill.trial import trial_epochs
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.networks.classifiers import build_model
from kd_sweep.study.recipe import Data, Distillation, Learner, Metrics
from kd_sweep.study.trial import TrialConfig

SIZES = {
    "cpu": {"train": 512, "val": 128, "students": 4, "teachers": 2, "processes": 2, "epochs": 1, "model": "resnet8"},
    "cuda": {
        "train": 20000,
        "val": 5000,
        "students": 8,
        "teachers": 4,
        "processes": 4,
        "epochs": 1,
        "model": "resnet20",
    },
}
TIMES = ("epoch_s", "train_images_per_s")
Rows = dict[str, list[dict[str, Any]]]
"""Of each trial, by its id."""


def trials(arguments: argparse.Namespace) -> list[TrialConfig]:
    """Return students that differ in ensemble and loss, largest ensembles last."""
    learner = Learner(
        model=arguments.model, width=arguments.width, batch_size=arguments.batch, precision=arguments.precision
    )
    data = Data(name="benchmarks:noise", num_train=arguments.train, num_val=arguments.val)  # type: ignore[call-arg]
    return [
        TrialConfig(
            data=data,
            teacher=learner,
            student=learner.changed({"epochs": arguments.epochs}),
            distillation=Distillation(alpha=0.5 * number / arguments.students, teacher_control="random_weights"),
            metrics=Metrics(attention="cam"),
            teacher_strengths=(0.5,) * (1 + number % arguments.teachers),
            student_strength=0.5,
        )
        for number in range(arguments.students)
    ]


def one_after_another(configs: list[TrialConfig], root: Path, options: dict[str, Any]) -> Rows:
    folder = Path(tempfile.mkdtemp(dir=root))
    return {
        config.trial_id: list(trial_epochs(config, root=root, checkpoint_dir=folder / config.trial_id, **options))
        for config in configs
    }


def in_lock_step(configs: list[TrialConfig], root: Path, options: dict[str, Any]) -> Rows:
    folder = Path(tempfile.mkdtemp(dir=root))
    rows: Rows = {config.trial_id: [] for config in configs}
    outcomes = epochs_in_lock_step(
        configs, root=root, checkpoint_dir=lambda config: folder / config.trial_id, **options
    )
    for config, outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
        rows[config.trial_id].append(outcome)
    return rows


class Packed:
    """Processes that each train one student after another, as `resources.gpus: 0.25` has four of them on a GPU.

    They have started, and trained a first student, before the time that counts begins.
    """

    def __init__(self, number: int) -> None:
        self.pool = multiprocessing.get_context("spawn").Pool(number)
        self.number = number

    def warm_up(self, config: TrialConfig, root: Path, options: dict[str, Any]) -> None:
        options = options | {"are_kept": True}
        self.pool.starmap(_with_passes, [([config], root, options)] * self.number, chunksize=1)

    def __call__(self, configs: list[TrialConfig], root: Path, options: dict[str, Any]) -> Rows:
        options = options | {"are_kept": LogitCache.keeps(LogitCache(root), (1, 1, 1))}
        done = self.pool.starmap(_with_passes, [([config], root, options) for config in configs], chunksize=1)
        Passes.num_images += sum(num_images for _, num_images, _ in done)
        Passes.children_s += sum(cpu_s for _, _, cpu_s in done)
        return {trial_id: rows for found, _, _ in done for trial_id, rows in found.items()}


def _with_passes(configs: list[TrialConfig], root: Path, options: dict[str, Any]) -> tuple[Rows, int, float]:
    began = time.process_time()
    with counted(), answers(are_kept=options.pop("are_kept")):
        before = Passes.num_images
        LogitCache.forget()
        rows = one_after_another(configs, root, options)
        return rows, Passes.num_images - before, time.process_time() - began


@contextmanager
def answers(*, are_kept: bool) -> Iterator[None]:
    """Keep the teachers' answers to an epoch in the block, or do not; what is kept of clean images stays kept."""
    keeps = LogitCache.keeps
    if not are_kept:
        LogitCache.keeps = lambda *_: False  # type: ignore[method-assign]
    try:
        yield
    finally:
        LogitCache.keeps = keeps  # type: ignore[method-assign]


class Passes:
    """What is counted of all processes."""

    num_images = 0
    """That teachers have seen, of the streams of training and validation."""
    children_s = 0.0
    """CPU seconds of other processes."""


@contextmanager
def counted() -> Iterator[None]:
    """Count the images that teachers see in the block."""
    methods = {name: getattr(Member, name) for name in ("train_logits", "logits")}

    def counting(method: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def answer(member: Member, images_BDHW: torch.Tensor) -> torch.Tensor:
            Passes.num_images += len(images_BDHW)
            return method(member, images_BDHW)

        return answer

    for name, method in methods.items():
        setattr(Member, name, counting(method))
    try:
        yield
    finally:
        for name, method in methods.items():
            setattr(Member, name, method)


def forward_flops(config: TrialConfig, root: Path) -> float:
    """Return the floating point operations of one image's way through the network; a step takes three times as many."""
    network = build_model(config.student, resident_dataset(config.data, root), 0).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(2, 3, 32, 32))
    return float(counter.get_total_flops()) / 2


def peak_flops(device: torch.device, precision: str) -> float:
    """Return the operations a second of a multiplication of large matrices, the best of some."""
    side = 8192 if device.type == "cuda" else 1024
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    factors = [torch.randn(side, side, device=device, dtype=kind) for _ in range(2)]
    best = float("inf")
    for _ in range(8):
        began = now(device)
        for _ in range(4):
            factors[0] @ factors[1]
        best = min(best, now(device) - began)
    return 4 * 2 * side**3 / best


def now(device: torch.device) -> float:
    """Return seconds: of the clock after the GPU's work, or on a CPU those that were computed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime + Passes.children_s


def without_times(rows: Rows) -> Rows:
    return {
        trial_id: [{name: value for name, value in row.items() if name not in TIMES} for row in of_trial]
        for trial_id, of_trial in rows.items()
    }


def measure(arguments: argparse.Namespace, packed: Packed, device: torch.device) -> None:
    configs = trials(arguments)
    num_steps_images = arguments.students * arguments.epochs * arguments.train
    fewest = arguments.teachers * arguments.epochs * (arguments.train + arguments.val)
    peak = peak_flops(device, arguments.precision)
    print(f"{'answers':18}{'way':20}{'s':>9}{'epochs/h':>10}{'images/s':>10}{'teacher images':>16}{'of peak':>9}  rows")
    for is_kept in (True, False):
        expected: Rows = {}
        ways = {"one after another": one_after_another, "packed": packed, "in lock step": in_lock_step}
        for name, way in ways.items():
            with tempfile.TemporaryDirectory() as folder, counted(), answers(are_kept=is_kept):
                root = Path(folder)
                options = {"device": str(device), "num_threads": arguments.threads}
                LogitCache.forget()
                for teacher in configs[-1].teachers:
                    ensure_teacher(teacher, root, device=str(device), num_threads=arguments.threads)
                Passes.num_images, began = 0, now(device)
                rows = without_times(way(configs, root, options))
                seconds = now(device) - began
                flops = forward_flops(configs[0], root)
            expected = expected or rows
            useful = flops * (3 * num_steps_images + arguments.teachers * arguments.epochs * arguments.train)
            print(
                f"{'kept' if is_kept else 'not kept':18}{name:20}{seconds:9.1f}"
                f"{3600 * arguments.students * arguments.epochs / seconds:10.0f}{num_steps_images / seconds:10.0f}"
                f"{Passes.num_images:16,}{useful / seconds / peak:9.3f}  {'equal' if rows == expected else 'DIFFER'}",
                flush=True,
            )
            if device.type == "cpu" and rows != expected:
                raise SystemExit("rows differ")
            if name == "in lock step" and Passes.num_images != fewest:
                raise SystemExit(f"teachers saw {Passes.num_images:,} images; the fewest possible are {fewest:,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--model")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    for name in ("train", "val", "students", "teachers", "processes", "epochs"):
        parser.add_argument(f"--{name}", type=int)
    arguments = parser.parse_args()
    for name, value in SIZES[arguments.device].items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    device = torch.device(arguments.device)
    packed = Packed(arguments.processes)
    with tempfile.TemporaryDirectory() as folder:  # kernels are chosen, and libraries loaded, before what counts
        options = {"device": str(device), "num_threads": arguments.threads}
        few = arguments.__class__(**{**vars(arguments), "train": 2 * arguments.batch, "val": 256, "students": 1})
        one_after_another(trials(few), Path(folder), options)
        packed.warm_up(trials(few)[0], Path(folder), options)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {arguments.threads} thread(s)"
    print(
        f"{arguments.students} students of {arguments.model}, width {arguments.width}, {arguments.precision}; {where}; "
        f"{arguments.train:,} + {arguments.val:,} images, {arguments.epochs} epoch(s), batch {arguments.batch}; "
        f"ensembles of 1 to {arguments.teachers}; packed: {arguments.processes} processes"
    )
    measure(arguments, packed, device)


if __name__ == "__main__":
    main()

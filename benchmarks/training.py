"""Images per second of a trial's epochs, beside a bare loop over the same networks.

The bare loop does on tensors that are already in memory what no distillation can do without: the teachers' forward
passes, the student's forward and backward pass, the loss and the optimiser's step; and, for a whole epoch, the forward
passes over the validation images. Everything else is ours: augmentation, metrics, logits kept, attention maps,
checkpoints. The ways take turns, epoch by epoch, so that a busy machine slows all of them alike. Prints one table.

    python -m benchmarks.training
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from kd_sweep.augmentation.stream import AugmentationStream
from kd_sweep.distill.compute import CHANNEL_BLOCK, memory_layout, reproducible, to_device
from kd_sweep.distill.distillation_loss import distillation_loss
from kd_sweep.distill.optimizers import build_optimizer
from kd_sweep.distill.teachers import ensure_teacher, load_teacher
from kd_sweep.distill.trial import trial_epochs
from kd_sweep.distill.worker_memory import resident_dataset
from kd_sweep.networks.classifiers import build_model
from kd_sweep.study.recipe import Data, Learner, Metrics
from kd_sweep.study.trial import TrialConfig

CASES = {
    "digits, 16 px, resnet8 width 16 teaches width 8": (16, 16, 8),
    "digits, 32 px, resnet8 width 16 teaches width 16": (32, 16, 16),
}
Rates = tuple[float, float]
"""Training images per second of the training part of an epoch, and of the whole epoch."""


def trial(
    image_size: int, teacher_width: int, student_width: int, num_teachers: int, epochs: int, metrics: Metrics
) -> TrialConfig:
    return TrialConfig(
        metrics=metrics,
        data=Data(image_size=image_size),
        teacher=Learner(width=teacher_width, epochs=1),
        student=Learner(width=student_width, epochs=epochs),
        teacher_strengths=(0.5,) * num_teachers,
        student_strength=0.5,
    )


def bare_epoch(config: TrialConfig, root: Path, num_threads: int) -> Callable[[], Rates]:
    dataset = resident_dataset(config.data, root)
    stream = AugmentationStream(config.stream, dataset)
    train = list(stream.batches(1))
    val = list(stream.clean_batches(dataset.val))
    val_augmented = list(stream.augmented_val(1))
    student = to_device(build_model(config.student, dataset, config.init_seed), torch.device("cpu"))
    optimizer = build_optimizer(student, config.student)
    teachers = [load_teacher(teacher, root, device="cpu") for teacher in config.teachers]
    num_images = sum(len(batch) for batch in train)

    def epoch() -> Rates:
        with reproducible(num_threads):
            student.train()
            started = time.perf_counter()
            for batch in train:
                with torch.no_grad():
                    teacher_logits_MBC = torch.stack([teacher(batch.images_BDHW) for teacher in teachers])
                loss = distillation_loss(
                    student(batch.images_BDHW), teacher_logits_MBC, batch.labels_B, config.distillation
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            trained = time.perf_counter()
            student.eval()
            with torch.no_grad():
                for batch in val:
                    student(batch.images_BDHW)
                for batch in val_augmented:
                    student(batch.images_BDHW)
                    for teacher in teachers:
                        teacher(batch.images_BDHW)
            ended = time.perf_counter()
        return num_images / (trained - started), num_images / (ended - started)

    return epoch


def trial_epoch(config: TrialConfig, root: Path, num_threads: int, *, cache_logits: bool) -> Callable[[], Rates]:
    num_images = len(resident_dataset(config.data, root).train)

    def start(checkpoint_dir: Path) -> Iterator[dict[str, Any]]:
        return trial_epochs(
            config,
            root=root,
            checkpoint_dir=checkpoint_dir,
            device="cpu",
            num_threads=num_threads,
            cache_logits=cache_logits,
        )

    if cache_logits:
        for _ in start(root / "fills the cache"):
            pass
    rows = start(root / f"trial {cache_logits}")

    def epoch() -> Rates:
        started = time.perf_counter()
        row = next(rows)
        return row["train_images_per_s"], num_images / (time.perf_counter() - started)

    return epoch


def measure(config: TrialConfig, repeats: int, num_threads: int) -> dict[str, Rates]:
    """Return the medians over ``repeats`` epochs of each way, after one epoch that is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for teacher in config.teachers:
            ensure_teacher(teacher, root, device="cpu", num_threads=num_threads)
        ways = {
            "bare loop": bare_epoch(config, root, num_threads),
            "trial, teachers look at every image": trial_epoch(config, root, num_threads, cache_logits=False),
            "trial, teachers' logits from the cache": trial_epoch(config, root, num_threads, cache_logits=True),
        }
        rates: dict[str, list[Rates]] = {name: [] for name in ways}
        for repeat in range(repeats + 1):
            for name, epoch in ways.items():
                measured = epoch()
                if repeat:
                    rates[name].append(measured)
    return {name: tuple(map(statistics.median, zip(*pairs, strict=True))) for name, pairs in rates.items()}


def layout_table(repeats: int, num_threads: int) -> Table:
    """Return how long a student's training step takes in either memory layout, and which one it gets.

    Channels last is measured only where it is safe here: oneDNN works on 8 channels with AVX2 and on 16 with AVX-512
    (`compute.memory_layout`). With ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 it is so from 8 on.
    """
    block = 8 if torch.backends.cpu.get_cpu_capability() == "AVX2" else CHANNEL_BLOCK
    table = Table("width", "contiguous, ms", "channels last, ms", "in use", title="a training step, 64 digits of 16 px")
    dataset = resident_dataset(Data(image_size=16), Path("unused"))
    batch = next(AugmentationStream(TrialConfig().stream, dataset).batches(1))
    for width in (4, 8, 12, 16, 32):
        learner = Learner(width=width)
        layouts = [torch.contiguous_format, *([torch.channels_last] if width >= block else [])]
        models = [build_model(learner, dataset, 0).to(memory_format=layout) for layout in layouts]  # type: ignore[call-overload]
        times: list[list[float]] = [[] for _ in layouts]
        with reproducible(num_threads):
            for repeat in range(10 * repeats + 3):
                for model, taken in zip(models, times, strict=True):
                    started = time.perf_counter()
                    torch.nn.functional.cross_entropy(model(batch.images_BDHW), batch.labels_B).backward()
                    if repeat >= 3:
                        taken.append(1000 * (time.perf_counter() - started))
        shown = [f"{statistics.median(taken):.2f}" for taken in times]
        chosen = memory_layout(models[0], torch.device("cpu"))
        table.add_row(
            str(width), shown[0], shown[1] if len(shown) > 1 else "unsafe", str(chosen).removeprefix("torch.")
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="epochs of each way")
    parser.add_argument("--teachers", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--attention", choices=["grad_cam", "cam"], default=Metrics().attention)
    parser.add_argument("--layouts", action="store_true", help="compare memory layouts, and nothing else")
    arguments = parser.parse_args()
    if arguments.layouts:
        Console(width=150).print(layout_table(arguments.repeats, arguments.threads))
        return

    setting = f"{arguments.teachers} teachers, batch 64, {arguments.threads} thread(s), {arguments.attention}"
    table = Table(title=f"distillation, {setting}")
    for heading in ("case", "way", "training images/s", "of bare", "whole epoch images/s", "of bare"):
        table.add_column(heading, justify="left" if heading in ("case", "way") else "right")
    for case, sizes in CASES.items():
        config = trial(*sizes, arguments.teachers, arguments.repeats + 1, Metrics(attention=arguments.attention))
        rates = measure(config, arguments.repeats, arguments.threads)
        bare = rates["bare loop"]
        for name, (training, whole) in rates.items():
            shown = (f"{training:,.0f}", f"{training / bare[0]:.2f}", f"{whole:,.0f}", f"{whole / bare[1]:.2f}")
            table.add_row(case if name == "bare loop" else "", name, *shown)
        table.add_section()
    Console(width=150).print(table)


if __name__ == "__main__":
    main()

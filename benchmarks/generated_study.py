"""A study of any size whose curves look like a sweep's, written through the real writer; nothing is trained for it.

Strengths 0 to 1, sizes 1 to 3, as many seeds as it takes. Accuracy rises and levels off, agreement grows with size, one
trial in twenty was stopped early and one in a hundred failed. Shares are counts of 10,000 images, as real ones are.
Every trial has all metrics that a trial reports; those by class, which a study has to ask for, are left out.
Metrics that are lists are in each trial's last epoch alone, which is the one that views read.

Run: python benchmarks/generated_study.py ROOT --trials 10000 --epochs 200
     python benchmarks/generated_study.py ROOT --trials 10000 --epochs 200 --live-trials 100 --epochs-per-s 50
The second one grows live from trial 9,900 on; where the first trials are there already, it goes on behind them.
"""

import argparse
import datetime
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kd_sweep.storage.root import Root
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.metric_catalogue import CALIBRATION_BINS, METRICS, METRICS_VERSION
from kd_sweep.study.metric_record import Metric, Null
from kd_sweep.study.space.points import trial_config
from kd_sweep.study.spec import StudySpec
from kd_sweep.tables.study_lease import study_lease
from kd_sweep.tables.writer import StudyWriter

NUM_IMAGES = 10_000
NUM_SLOTS = 50
NUM_HOSTS = 5
NUM_STRENGTHS, NUM_SIZES = 11, 3
ROWS_PER_FLUSH = 20_000
EPOCH_S = 1.5
DRIVER_STEP_S = 0.1
"""How often a driver asks whether a flush is due."""
EPOCH = datetime.timedelta(seconds=EPOCH_S)
BEGAN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
STUDY_FILE = """
name: generated
data: {{name: digits, image_size: 8}}
teacher: {{model: resnet20, epochs: 100}}
student: {{model: resnet20, epochs: {epochs}}}
search:
  augmentation_strength: {{grid: [0.0]}}
  ensemble_size: {{grid: [1]}}
  seed: {{grid: [0]}}
"""
Row = tuple[dict[str, Any], dict[str, Any]]
"""Of an epoch, and of its trial then."""
OBJECTIVES = [{"metric": "val_accuracy", "mode": "max"}, {"metric": "ece", "mode": "min"}]


def settings_of(number: int) -> dict[str, Any]:
    """Return strength, size and seed of a trial; each combination once."""
    return {
        "augmentation_strength": number % NUM_STRENGTHS / (NUM_STRENGTHS - 1),
        "ensemble_size": number // NUM_STRENGTHS % NUM_SIZES + 1,
        "seed": number // (NUM_STRENGTHS * NUM_SIZES),
    }


def curves_of(number: int, num_epochs: int) -> dict[str, np.ndarray]:
    """Return the metrics of a trial, a value per epoch; the same for the same trial, whatever else is generated."""
    generator = np.random.default_rng([number, 2405])
    strength, size = settings_of(number)["augmentation_strength"], settings_of(number)["ensemble_size"]

    def share(limit: float, half: float, noise: float) -> np.ndarray:
        level = limit + generator.normal(0, 0.01)
        rising = level * (1 - 0.9 * np.exp(-np.arange(1, num_epochs + 1) / half))
        values = rising + generator.normal(0, noise, num_epochs)
        return np.round(np.clip(values, 0, 1) * NUM_IMAGES) / NUM_IMAGES

    accuracy = share(0.7 + 0.04 * size + 0.2 * strength * (1 - strength), 20 + 20 * strength, 0.004)
    train = share(0.97 - 0.3 * strength, 15 + 20 * strength, 0.004)
    curves = {
        "val_accuracy": accuracy,
        "train_accuracy": train,
        "generalization_gap": train - accuracy,
        "val_loss": 2.5 * (1.02 - accuracy) + np.abs(generator.normal(0, 0.01, num_epochs)),
        "train_loss": 3.0 * (1.02 - train) + np.abs(generator.normal(0, 0.01, num_epochs)),
        "fidelity_train": share(0.9 - 0.2 * strength, 15, 0.004),
        "fidelity_val": share(0.95 - 0.02 * size - 0.1 * strength, 15, 0.004),
        "fidelity_val_augmented": share(0.92 - 0.02 * size - 0.3 * strength, 15, 0.004),
        "ece": np.abs(0.05 - 0.03 * strength + generator.normal(0, 0.004, num_epochs)),
        "attention_iou_student": share(0.5 - 0.1 * strength, 30, 0.002),
        "attention_iou_student_chance": share(0.25, 30, 0.002),
        "teacher_accuracy": np.full(num_epochs, accuracy[-1]),
        "ensemble_accuracy": np.full(num_epochs, min(accuracy[-1] + 0.01 * size, 1.0)),
        "affinity": np.full(num_epochs, 1 - 0.6 * strength),
        "diversity": np.full(num_epochs, 1 + 2 * strength),
    }
    if size > 1:
        of_teachers = {"diversity_teachers": 0.1 + 0.1 * strength, "attention_iou_teachers": 0.5 - 0.2 * strength}
        of_teachers |= {"attention_iou_teachers_chance": 0.25}
        curves |= {name: np.full(num_epochs, value + generator.normal(0, 0.01)) for name, value in of_teachers.items()}
    augmented = share(0.6 + 0.04 * size - 0.1 * strength, 20 + 20 * strength, 0.004)
    curves |= {"val_augmented_accuracy": augmented, "generalization_gap_augmented": train - augmented}
    others = (metric for metric in METRICS if metric.name not in curves and not metric.is_list)
    return curves | {m.name: _curve_of(m, strength, num_epochs, generator) for m in others if _is_reported(m, size)}


def _is_reported(metric: Metric, size: int) -> bool:
    return size > 1 or Null.ONE_TEACHER not in metric.null


def _curve_of(metric: Metric, strength: float, num_epochs: int, generator: np.random.Generator) -> np.ndarray:
    """Return the curve of a metric that needs none of its own: it falls with strength, in range whatever it is."""
    level = 0.8 - 0.3 * strength + generator.normal(0, 0.01)
    if metric.kind == "chance":
        return np.full(num_epochs, level / 4)
    if metric.is_of_teachers:
        return np.full(num_epochs, level)
    rising = level * (1 - 0.9 * np.exp(-np.arange(1, num_epochs + 1) / 20))
    values = np.clip(rising + generator.normal(0, 0.004, num_epochs), 0, 1)
    is_counted = metric.unit == "share" and not metric.of_attention
    return np.asarray(np.round(values * NUM_IMAGES) / NUM_IMAGES if is_counted else values)


def lists_of(number: int) -> dict[str, list[float] | None]:
    """Return the metrics of a trial that are lists, but for those by class."""
    size, generator = settings_of(number)["ensemble_size"], np.random.default_rng([number, 1706])
    num_pairs = size * (size - 1) // 2
    lists: dict[str, list[float] | None] = {
        "agreement_teachers": generator.uniform(0.6, 0.9, num_pairs).tolist() if num_pairs else None,
        "agreement_student": generator.uniform(0.6, 0.9, size).tolist(),
    }
    middles = (np.arange(CALIBRATION_BINS) + 0.5) / CALIBRATION_BINS
    for who in ("student", "teachers"):
        counts = generator.multinomial(NUM_IMAGES, middles / middles.sum())
        lists[f"reliability_count_{who}"] = counts.astype(float).tolist()
        lists[f"reliability_confidence_{who}"] = middles.tolist()
        lists[f"reliability_accuracy_{who}"] = (middles * generator.uniform(0.8, 1, CALIBRATION_BINS)).tolist()
    return lists


def length_of(number: int, num_epochs: int) -> tuple[int, str]:
    """Return how many epochs a trial has in the end, and its status then."""
    if number % 100 == 99:
        return max(num_epochs // 2, 1), "failed"
    return (max(num_epochs // 4, 1), "stopped") if number % 20 == 7 else (num_epochs, "completed")


def epochs_of(spec: StudySpec, number: int, num_epochs: int, *, is_live: bool = False) -> Iterator[Row]:
    """Yield a trial's epochs as rows of `epochs`, each with what the trial's row says then."""
    slot, turn = number % NUM_SLOTS, number // NUM_SLOTS
    host = f"node-{slot % NUM_HOSTS}"
    began = BEGAN + datetime.timedelta(seconds=turn * (num_epochs * EPOCH_S + 5) + slot / 10)
    last, ends_as = length_of(number, num_epochs)
    curves = {name: values.tolist() for name, values in curves_of(number, num_epochs).items()}
    config = trial_config(spec, settings_of(number))
    identity = {"trial_id": config.trial_id, "metrics_version": METRICS_VERSION, **settings_of(number)}
    about = {"config": config.model_dump_json(), "student": "resnet20", "teacher": "resnet20", "attempts": 1}
    best, best_epoch = -1.0, 0
    for epoch in range(1, last + 1):
        metrics = {name: values[epoch - 1] for name, values in curves.items()}
        finished_at = datetime.datetime.now(datetime.UTC) if is_live else began + epoch * EPOCH
        if is_live and epoch == 1:
            began = finished_at - EPOCH
        ran = {"epoch_s": EPOCH_S, "train_images_per_s": 3e4, "learning_rate": 0.1 * (1 - epoch / num_epochs)}
        ran |= {"finished_at": finished_at, "host": host, "pid": 1000 + slot, "attempt": 1}
        if metrics["val_accuracy"] > best:
            best, best_epoch = metrics["val_accuracy"], epoch
        state: dict[str, Any] = (
            {"status": ends_as, "finished_at": finished_at} if epoch == last else {"status": "running"}
        )
        state |= {"last_epoch": epoch, "num_epochs": num_epochs, "started_at": began, "host": host}
        state |= {"objective": metrics["val_accuracy"], "best_objective": best, "best_epoch": best_epoch}
        state |= {"train_s": epoch * EPOCH_S}
        if ends_as == "stopped" and epoch == last:
            state["rung"] = epoch
        lists = lists_of(number) if epoch == last else {}
        yield identity | metrics | lists | ran | {"epoch": epoch}, identity | metrics | about | state


def teachers() -> Iterator[dict[str, Any]]:
    """Yield rows of `teachers`: three of each strength and of five seeds."""
    for index in range(NUM_STRENGTHS * NUM_SIZES * 5):
        strength = index % NUM_STRENGTHS / (NUM_STRENGTHS - 1)
        made = {"model": "resnet20", "epochs": 100, "num_parameters": 272_474, "train_s": 100.0}
        made |= {"val_accuracy": 0.9 - 0.1 * strength, "train_accuracy": 0.99, "pid": 1000 + index % NUM_SLOTS}
        yield made | {
            "teacher_id": f"teacher-{index:08x}",
            "augmentation_strength": strength,
            "member": index // NUM_STRENGTHS % NUM_SIZES + 1,
            "seed": index // (NUM_STRENGTHS * NUM_SIZES),
            "host": f"node-{index % NUM_HOSTS}",
            "finished_at": BEGAN - datetime.timedelta(seconds=110 * (index // NUM_SLOTS) + 5),
        }


def write(
    root: Path, name: str, num_trials: int, num_epochs: int, *, epochs_per_s: float | None = None, live_trials: int = 0
) -> None:
    """Write a study: trials in groups that run side by side, epoch by epoch. Those that are there stay as they are.

    Args:
        root: the results root.
        name: of the study.
        num_trials: how many.
        num_epochs: that each is asked for.
        epochs_per_s: as fast as a live sweep would report those of the last trials.
        live_trials: how many these are. All others are written as fast as it can.
    """
    opened = Root.open(root)
    opened.child(name).ensure_folder()
    spec = parse_spec(STUDY_FILE.format(epochs=num_epochs), "study")
    lease = study_lease(opened.child(name), name)
    try:
        with StudyWriter(opened, name, lease=lease) as writer:
            writer.set_study(
                objectives=json.dumps(OBJECTIVES), num_planned=num_trials, status="running", sampler="grid"
            )
            for teacher in teachers():
                writer.upsert_teacher(teacher)
            numbers = range(len(writer.trials), num_trials)
            num_fast = max(num_trials - live_trials - len(writer.trials), 0) if epochs_per_s else len(numbers)
            _write_at_once(writer, _side_by_side(spec, numbers[:num_fast], num_epochs))
            if epochs_per_s:
                _write_live(writer, _side_by_side(spec, numbers[num_fast:], num_epochs, is_live=True), epochs_per_s)
            writer.set_study(status="completed")
    finally:
        lease.release()


def _write_at_once(writer: StudyWriter, rows: Iterator[Row]) -> None:
    while several := list(itertools.islice(rows, ROWS_PER_FLUSH)):
        for epoch, _ in several:
            writer.add_epoch(epoch)
        for trial in {trial["trial_id"]: trial for _, trial in several}.values():  # as they are at the flush
            writer.upsert_trial(trial)
        writer.flush()


def _write_live(writer: StudyWriter, rows: Iterator[Row], epochs_per_s: float) -> None:
    began = time.monotonic()
    for count, row in enumerate(rows, 1):
        _add(writer, row)
        while (early_s := count / epochs_per_s - (time.monotonic() - began)) > 0:
            time.sleep(min(early_s, DRIVER_STEP_S))
            writer.maybe_flush()
        writer.maybe_flush()


def _side_by_side(spec: StudySpec, numbers: Sequence[int], num_epochs: int, *, is_live: bool = False) -> Iterator[Row]:
    """Yield the epochs of trials in the order in which slots report them: groups one after another, epoch by epoch."""
    for first in range(0, len(numbers), NUM_SLOTS):
        group = numbers[first : first + NUM_SLOTS]
        running = [epochs_of(spec, number, num_epochs, is_live=is_live) for number in group]
        for reports in itertools.zip_longest(*running):
            yield from (report for report in reports if report is not None)


def _add(writer: StudyWriter, row: Row) -> None:
    writer.add_epoch(row[0])
    writer.upsert_trial(row[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--name", default="generated")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--epochs-per-s", type=float, help="of the live trials; default: none is live")
    parser.add_argument(
        "--live-trials", type=int, default=0, help="the last ones, which report as fast as a sweep does"
    )
    given = parser.parse_args()
    pace = {"epochs_per_s": given.epochs_per_s, "live_trials": given.live_trials}
    write(given.root, given.name, given.trials, given.epochs, **pace)


if __name__ == "__main__":
    main()

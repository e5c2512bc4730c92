"""Rows to write: their values are a function of trial and epoch, so that any reader can check them."""

import datetime
import zlib
from pathlib import Path
from typing import Any

from kd_sweep.storage.root import Root
from kd_sweep.study.metric_catalogue import LIST_METRICS, METRICS_VERSION, REPORTED_METRICS
from kd_sweep.tables.writer import StudyWriter

FINISHED_AT = datetime.datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=datetime.UTC)


def trial_id(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}"


def metric_value(trial: str, epoch: int, metric: str) -> float:
    return zlib.crc32(f"{trial} {epoch} {metric}".encode()) / 2**32


def epoch_row(number: int, epoch: int, **changes: Any) -> dict[str, Any]:
    trial = trial_id(number)
    row: dict[str, Any] = {
        "trial_id": trial,
        "epoch": epoch,
        "augmentation_strength": number % 3 / 2,
        "ensemble_size": number % 2 + 1,
        "seed": number % 5,
        "metrics_version": METRICS_VERSION,
        **{metric: metric_value(trial, epoch, metric) for metric in REPORTED_METRICS},
        **dict.fromkeys(LIST_METRICS),
        "learning_rate": 0.1,
        "epoch_s": 1.5,
        "train_images_per_s": 1000.0,
        "finished_at": FINISHED_AT,
        "host": "host-a",
        "pid": 42,
        "attempt": 1,
    }
    if row["ensemble_size"] == 1:
        row["attention_iou_teachers"] = None
    return row | lists(trial, epoch, (row | changes)["ensemble_size"]) | changes


def lists(trial: str, epoch: int, size: int) -> dict[str, Any]:
    """Return the metrics that are lists, but for those by class; in two of three bins there are images."""

    def values(name: str, number: int) -> list[float]:
        return [metric_value(trial, epoch, f"{name} {index}") for index in range(number)]

    pairs = values("agreement_teachers", size * (size - 1) // 2)
    found: dict[str, Any] = {
        "agreement_teachers": pairs or None,
        "agreement_student": values("agreement_student", size),
    }
    for who in ("student", "teachers"):
        counts = [round(60 * value) if index % 3 else 0 for index, value in enumerate(values(f"count {who}", 15))]
        found[f"reliability_count_{who}"] = counts
        for what in ("confidence", "accuracy"):
            shares = zip(counts, values(f"{what} {who}", 15), strict=True)
            found[f"reliability_{what}_{who}"] = [value if count else None for count, value in shares]
    return found


def trial_row(number: int, status: str = "completed", **changes: Any) -> dict[str, Any]:
    return {
        "trial_id": trial_id(number),
        "status": status,
        "augmentation_strength": number % 3 / 2,
        "ensemble_size": number % 2 + 1,
        "seed": number % 5,
        "student": "resnet8",
        "teacher": "resnet14",
        "config": "{}",
        "num_epochs": 4,
    } | changes


def write_study(root: Path, study: str = "digits", num_trials: int = 6, num_epochs: int = 4) -> list[dict[str, Any]]:
    """Write a finished study in several flushes and return its epoch rows."""
    written = []
    with StudyWriter(Root.open(root), study) as writer:
        writer.set_study(objectives='[{"metric": "val_accuracy", "mode": "max"}]', num_planned=num_trials)
        for epoch in range(1, num_epochs + 1):
            for number in range(num_trials):
                row = epoch_row(number, epoch)
                writer.add_epoch(row)
                written.append(row)
                outcome = {metric: row[metric] for metric in REPORTED_METRICS}
                ended = {"last_epoch": epoch, "objective": row["val_accuracy"]}
                writer.upsert_trial(trial_row(number, **outcome, **ended))
            writer.flush()
    return written

"""Studies for figures to show, written through the real writer: one that has all of it, and those at the edges."""

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_sweep.handles.root_results import open_results
from kd_sweep.handles.study_results import StudyResults
from kd_sweep.storage.root import Root
from kd_sweep.study.file.frozen import freeze
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.metric_catalogue import LIST_METRICS
from kd_sweep.tables.writer import StudyWriter
from tests.tables.rows import FINISHED_AT, epoch_row, trial_id, trial_row

OBJECTIVES = ({"metric": "val_accuracy", "mode": "max"}, {"metric": "ece", "mode": "min"})
STRENGTHS, SIZES, SEEDS, NUM_EPOCHS = (0.0, 0.5, 1.0), (1, 2), (0, 1, 2), 4
CONFIG = json.dumps({"seed": 0, "distillation": {"loss": "kl", "alpha": 0.1, "temperature": 4.0}})
OF_ARMS = {"arms", "components"}
"""Figures of studies with control arms, or with seeds of their students apart, which these are not."""
Change = Callable[[int, dict[str, Any]], Mapping[str, Any]]
"""From the number of a trial and its setting to other columns of its row."""


def write_study(
    root: Path,
    name: str,
    *,
    strengths: tuple[float, ...] = STRENGTHS,
    sizes: tuple[int, ...] = SIZES,
    seeds: tuple[int, ...] = SEEDS,
    objectives: tuple[Mapping[str, str], ...] = OBJECTIVES,
    change: Change = lambda number, setting: {},
) -> StudyResults:
    """Write a study of every strength, size and seed, whose metrics have nothing to do with these; return it."""
    points = [(strength, size, seed) for strength in strengths for size in sizes for seed in seeds]
    with StudyWriter(Root.open(root), name) as writer:
        told = {"num_planned": len(points), "status": "completed", "sampler": "grid", "kd_sweep_version": "0.1.0"}
        writer.set_study(objectives=json.dumps(objectives), spec=study_file(name, strengths, sizes, seeds), **told)
        for number, (strength, size, seed) in enumerate(points):
            setting = {"augmentation_strength": strength, "ensemble_size": size, "seed": seed}
            own = {"status": "completed", "last_epoch": NUM_EPOCHS, **change(number, setting)}
            row: dict[str, Any] = {}
            for epoch in range(1, own["last_epoch"] + 1):
                finished_at = FINISHED_AT + datetime.timedelta(seconds=10 * number + 2 * epoch)
                row = epoch_row(number, epoch, **setting, finished_at=finished_at, host=f"host-{number % 2}")
                if size == 1:
                    row |= {name: None for name in row if "_teachers" in name and name.startswith("attention_")}
                row |= {name: value for name, value in own.items() if name in row and name not in ("epoch", "status")}
                writer.add_epoch(row)
            metrics = {key: value for key, value in row.items() if key not in ("epoch", "attempt", "learning_rate")}
            for one in ("epoch_s", "train_images_per_s", "finished_at", "pid", *LIST_METRICS):
                metrics.pop(one, None)
            told = {"objective": row.get(objectives[0]["metric"]), "config": CONFIG, "train_s": 6.0, "attempts": 1}
            of_trial = {key: value for key, value in own.items() if key not in LIST_METRICS}
            writer.upsert_trial(
                trial_row(number) | metrics | setting | told | of_trial | {"trial_id": trial_id(number)}
            )
    return open_results(root)[name]


def study_file(name: str, strengths: Sequence[float], sizes: Sequence[int], seeds: Sequence[int]) -> str | None:
    """Return the frozen study of these settings; None where there are none."""
    if not strengths:
        return None
    search = {"augmentation_strength": strengths, "ensemble_size": sizes, "seed": seeds}
    lines = [f"  {key}: {{grid: {list(values)}}}" for key, values in search.items()]
    text = "\n".join([f"name: {name}", "metrics: {attention: cam}", "search:", *lines])
    return freeze(parse_spec(text, "a test"), {"torch": "2.11.0", "ray": "2.60.0, 2.60.1 since 2026-01-02"}).text


def some_stopped(number: int, setting: Mapping[str, Any]) -> dict[str, Any]:
    """One trial in six was stopped after its second epoch, and one failed after its third."""
    if number % 6 == 5:
        return {"status": "stopped", "last_epoch": 2, "rung": 2}
    return {"status": "failed", "last_epoch": 3} if number == 0 else {}


def whole_study(root: Path) -> StudyResults:
    """Write the study of which every figure can be drawn, but for `OF_ARMS`."""
    return write_study(root, "whole", change=some_stopped)


def nulls(number: int, setting: Mapping[str, Any]) -> dict[str, Any]:
    """Metrics without values, now and then: all of some."""
    missing: dict[str, Any] = {"val_accuracy": None} if number % 2 else {"fidelity_val": None, "ece": None}
    return missing | {"attention_iou_teachers": None, "generalization_gap": None}


EDGES: dict[str, Callable[[Path], StudyResults]] = {
    "no trial": lambda root: write_study(root, "edge", strengths=()),
    "one trial": lambda root: write_study(root, "edge", strengths=(0.5,), sizes=(1,), seeds=(0,)),
    "one seed, one objective": lambda root: write_study(root, "edge", seeds=(7,), objectives=OBJECTIVES[:1]),
    "one size": lambda root: write_study(root, "edge", sizes=(1,)),
    "one strength": lambda root: write_study(root, "edge", strengths=(0.5,)),
    "all failed": lambda root: write_study(
        root, "edge", change=lambda number, setting: {"status": "failed", "last_epoch": number % 2}
    ),
    "all stopped": lambda root: write_study(
        root, "edge", change=lambda number, setting: {"status": "stopped", "last_epoch": 1 + number % 3, "rung": 1}
    ),
    "running": lambda root: write_study(root, "edge", change=lambda number, setting: {"status": "running"}),
    "three objectives": lambda root: write_study(
        root, "edge", objectives=(*OBJECTIVES, {"metric": "fidelity_val", "mode": "max"})
    ),
    "nulls": lambda root: write_study(root, "edge", change=nulls),
    "many strengths": lambda root: write_study(
        root, "edge", strengths=tuple(index / 12 for index in range(13)), sizes=tuple(range(1, 9)), seeds=(0,)
    ),
    "text and random numbers": lambda root: write_study(
        root,
        "edge",
        change=lambda number, setting: {
            "distillation_loss": ("kl", "mse_logits")[number % 2],
            "student_learning_rate": 10.0 ** -(number % 5),
            "distillation_temperature": None if number % 3 else 4.0,
        },
    ),
}
"""Studies of which some figures cannot be drawn."""

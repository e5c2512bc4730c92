"""A study of five trials that ended in every way, with the values that its exports have to have."""

import json
from pathlib import Path
from typing import Any

from kd_sweep.storage.root import Root
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.tables.writer import StudyWriter
from tests.tables.rows import FINISHED_AT, epoch_row, metric_value, trial_id, trial_row

Files = dict[str, tuple[bytes, int]]
"""By name, the content of a file and when it was written."""

STUDY = "written"
OBJECTIVES = [{"metric": "val_accuracy", "mode": "max"}, {"metric": "ece", "mode": "min"}]
LENGTHS = {0: ("completed", 4), 1: ("completed", 4), 2: ("stopped", 2), 3: ("failed", 1), 4: ("running", 2)}
"""Of each trial, its status and its last epoch."""
FINISHED = {number: (status, last) for number, (status, last) in LENGTHS.items() if status != "running"}
FAILURE = "TrialError: it failed"


def settings_of(number: int) -> dict[str, Any]:
    """Two fields are searched; the second has no value in every other trial."""
    return {"student_learning_rate": 0.1 * (number + 1), "distillation_loss": "kl" if number % 2 else None}


def write_study(root: Path, lengths: dict[int, tuple[str, int]] = LENGTHS, study: str = STUDY) -> None:
    with StudyWriter(Root.open(root), study) as writer:
        writer.set_study(objectives=json.dumps(OBJECTIVES), num_planned=len(lengths), status="completed")
        add_trials(writer, lengths)


def add_trials(writer: StudyWriter, lengths: dict[int, tuple[str, int]]) -> None:
    for number, (status, last) in lengths.items():
        for epoch in range(1, last + 1):
            writer.add_epoch(epoch_row(number, epoch))
        row = epoch_row(number, last)
        metrics = {name: row[name] for name in REPORTED_METRICS}
        times = {"started_at": FINISHED_AT, "finished_at": None if status == "running" else FINISHED_AT}
        more = {"last_epoch": last, "error": FAILURE if status == "failed" else None}
        writer.upsert_trial(trial_row(number, status, **settings_of(number), **metrics, **times, **more))


def last_value(number: int, metric: str) -> float:
    return metric_value(trial_id(number), LENGTHS[number][1], metric)


def curve(number: int, metric: str) -> dict[int, float]:
    return {epoch: metric_value(trial_id(number), epoch, metric) for epoch in range(1, LENGTHS[number][1] + 1)}

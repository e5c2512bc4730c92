"""Two studies for views to show, and their rows as pandas reads them from the files."""

import json
from pathlib import Path

import pandas as pd

from kd_sweep.storage.root import Root
from kd_sweep.study.metric_catalogue import REPORTED_METRICS
from kd_sweep.tables.writer import StudyWriter
from tests.tables.rows import epoch_row, trial_row

STUDIES = ("first", "second")
NUM_TRIALS, NUM_EPOCHS = 60, 5
MARGIN = "mykd_margin"
STATUSES = ("completed", "completed", "completed", "completed", "stopped", "failed")
OBJECTIVES = [{"metric": "val_accuracy", "mode": "max"}, {"metric": "ece", "mode": "min"}]
SETTING = ["augmentation_strength", "ensemble_size", "distillation_temperature", "distillation_loss_source"]
"""Of `first`; `second` has the two first alone."""


def write_studies(root: Path) -> None:
    """Write two studies of 60 trials: the first searches a temperature, has two versions of a loss, an extra metric."""
    for study in STUDIES:
        extra = [MARGIN] if study == "first" else []
        with StudyWriter(Root.open(root), study, metrics=extra) as writer:
            writer.set_study(objectives=json.dumps(OBJECTIVES), num_planned=NUM_TRIALS)
            for number in range(NUM_TRIALS):
                last = NUM_EPOCHS - number % 3
                more = {"distillation_temperature": float(number // 30), "distillation_loss_source": f"1+{number % 2}"}
                for epoch in range(1, last + 1):
                    row = epoch_row(number, epoch, seed=number // 6)
                    if study == "first" and epoch > 1:
                        row[MARGIN] = number + epoch / 8
                    writer.add_epoch(row)
                metrics = {name: value for name, value in row.items() if name in (*REPORTED_METRICS, MARGIN)}
                own = {"seed": number // 6, "last_epoch": last, "objective": row["val_accuracy"]}
                own |= metrics | (more if study == "first" else {})
                writer.upsert_trial(trial_row(number, STATUSES[number % 7 % 6], **own))
                if number % 20 == 19:
                    writer.flush()


def parquet(root: Path, study: str, table: str) -> pd.DataFrame:
    """Return a table of a study as pandas reads its files."""
    return pd.read_parquet(root / study / table)


def epochs_with_settings(root: Path, study: str) -> pd.DataFrame:
    """Return the epochs with the searched fields of their trials."""
    trials = parquet(root, study, "trials")
    added = [
        name
        for name in (*SETTING, "status")
        if name in trials and name not in ("augmentation_strength", "ensemble_size")
    ]
    return parquet(root, study, "epochs").merge(trials[["trial_id", *added]], on="trial_id")


def settings_in(study: str) -> list[str]:
    """Return the columns of a study's settings."""
    return SETTING if study == "first" else SETTING[:2]

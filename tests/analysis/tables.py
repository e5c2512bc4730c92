"""Studies with planted effects, written through the real writer."""

import json
from pathlib import Path

from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import Results, open_results
from kd_sweep.tables.writer import StudyWriter

EPOCHS = 4


def trial(strength, size, seed, *, status="completed", last_epoch=EPOCHS, loss="kl", alpha=0.1, config=None, **columns):
    """One row of the trials table; further columns are metrics or searched fields."""
    distillation = {"loss": loss, "alpha": alpha, "temperature": 4.0}
    others = "-".join(f"{name}={value}" for name, value in columns.items())
    return {
        "trial_id": f"{strength}-{size}-{seed}-{loss}-{alpha}-{others}",
        "status": status,
        "augmentation_strength": float(strength),
        "ensemble_size": size,
        "seed": seed,
        "num_epochs": EPOCHS,
        "last_epoch": last_epoch,
        "config": json.dumps({"seed": seed, "distillation": distillation, **(config or {})}),
        **columns,
    }


def write_study(root: Path, trials, study: str = "planted") -> Results:
    with StudyWriter(Root.open(root), study) as writer:
        writer.set_study(status="completed", sampler="grid")
        for row in trials:
            writer.upsert_trial(row)
    return open_results(root)

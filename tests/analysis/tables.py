"""Studies with planted effects, written through the real writer."""

import json
from pathlib import Path

import numpy as np

from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import Results, open_results
from kd_sweep.tables.writer import StudyWriter

EPOCHS = 4
STRENGTHS, SIZES = (0.0, 0.25, 0.5), (1, 2, 3)


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


def planted(seeds=6, slope=-0.2, noise=0.004, generator=None):
    """Accuracy falls by `slope` per strength and rises by 0.01 per teacher; seeds differ by far more than that."""
    generator = generator or np.random.default_rng(0)
    made = []
    for seed in range(seeds):
        level = generator.normal(0.7, 0.05)
        for strength in STRENGTHS:
            for size in SIZES:
                value = level + slope * strength + 0.01 * size + generator.normal(0, noise)
                gap = 0.2 - 0.1 * strength + generator.normal(0, noise)
                iou = None if size == 1 else 0.6 - 0.2 * strength + generator.normal(0, noise)
                metrics = {"val_accuracy": value, "generalization_gap": gap, "attention_iou_teachers": iou}
                made.append(trial(strength, size, seed, **metrics))
    return made


def losses(rise, noise=0.003, seeds=5, alpha=0.0, columns=True):
    """Fidelity rises by `rise` where logits are matched, at two strengths."""
    generator = np.random.default_rng(8)
    made = []
    for seed in range(seeds):
        for strength in (0.0, 0.5):
            for loss, weight in (("kl", 0.1), ("mse_logits", alpha)):
                fidelity = 0.8 + 0.02 * seed + rise * (loss == "mse_logits") + generator.normal(0, noise)
                searched = {"distillation_loss": loss, "distillation_alpha": weight} if columns else {}
                made.append(trial(strength, 1, seed, loss=loss, alpha=weight, fidelity_val=fidelity, **searched))
    return made

"""What a trial's epochs say of the trial."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from kd_sweep.study.reported import REPORTED_METRICS


def outcome_of(epochs: Sequence[Mapping[str, Any]], metric: str, mode: Literal["min", "max"]) -> dict[str, Any]:
    """Return the columns of a trial's row that follow from its epochs; nothing for a trial without epochs.

    Args:
        epochs: the trial's rows, epoch 1 first.
        metric: the study's first objective.
        mode: whether less or more of it is better.

    Returns:
        `last_epoch`, every reported metric at it (None where it has none), `objective` (its last value),
        `best_objective` and `best_epoch` (the earliest of equals), `train_s` (seconds, the sum of `epoch_s`).
    """
    if not epochs:
        return {}
    last = epochs[-1]
    scored = [(row[metric], row["epoch"]) for row in epochs if row.get(metric) is not None]
    best_objective, best_epoch = None, None
    for value, epoch in scored:
        if best_objective is None or (value > best_objective if mode == "max" else value < best_objective):
            best_objective, best_epoch = value, epoch
    return {
        "last_epoch": last["epoch"],
        **{name: last.get(name) for name in REPORTED_METRICS},
        "objective": last.get(metric),
        "best_objective": best_objective,
        "best_epoch": best_epoch,
        "train_s": sum(row.get("epoch_s") or 0.0 for row in epochs),
    }

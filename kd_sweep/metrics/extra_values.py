"""The extra metrics of an epoch, and what is said where one of a plug-in fails."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch

from kd_sweep.catalogue.plugins import RAISED, described
from kd_sweep.errors import NonFiniteError, TrialError
from kd_sweep.metrics.epoch_outputs import EpochOutputs
from kd_sweep.study.extra_metrics import ExtraMetric, record_of


def extra_metrics(extra: Iterable[ExtraMetric], outputs: EpochOutputs) -> dict[str, float | None]:
    """Return the value of each metric by its column.

    Raises:
        NonFiniteError: one is NaN or infinite, or null though it always has a value.
        TrialError: one raises, or returns no number, or one outside its range.
    """
    return {metric.column: _value(metric, outputs) for metric in extra}


def _value(metric: ExtraMetric, outputs: EpochOutputs) -> float | None:
    what, where = f"metrics.extra: {metric.name!r}", f"in epoch {outputs.epoch}"
    own = replace(  # whatever a plug-in changes in place is its own
        outputs,
        student_logits_VC=outputs.student_logits_VC.clone(),
        teacher_logits_MVC=outputs.teacher_logits_MVC.clone(),
        labels_V=outputs.labels_V.clone(),
    )
    try:
        value = metric.entry.item(own, metric)
        number = _number(value)
    except RAISED as error:
        raise TrialError(f"{what} raised {described(error)} {where}") from error
    record = record_of(metric.entry)
    if number is None and value is not None:
        raise TrialError(f"{what} returned {_shown(value)} {where}, not a number")
    if not (record.can_be_null if number is None else math.isfinite(number)):
        raise NonFiniteError(f"{what} is {number} {where}")
    if number is not None and not record.range.holds(number, outputs.student_logits_VC.shape[1]):
        raise TrialError(f"{what} is {number} {where}, outside its range, {record.range.text}")
    return number


def _number(value: Any) -> float | None:
    """Return a number, or a tensor or array of one, as a float; None for anything else."""
    if isinstance(value, torch.Tensor) or type(value).__module__ == "numpy":
        value = value.item() if value.shape == () else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _shown(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" + (f" of the shape {tuple(shape)}" if shape else "")

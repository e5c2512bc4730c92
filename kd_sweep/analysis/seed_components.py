"""The variance of outcomes by what is drawn: teachers, and of a student order, initial weights and augmentation."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from kd_sweep.analysis.sample import Drawn, Sample
from kd_sweep.analysis.trial_settings import SIZE, STRENGTH, STUDENT, Arm, Setting, arm_of
from kd_sweep.statistics.variance_components import Component, variance_components
from kd_sweep.study.trial import SEED_LEVELS

REST = "rest"
"""The level of what is left: interactions of the others."""

COMPONENTS = pa.schema(
    [
        ("study", pa.string()),
        ("outcome", pa.string()),
        ("distillation_loss", pa.string()),
        ("attention_maps", pa.string()),
        ("augmentation_strength", pa.float64()),
        ("student_strength", pa.float64()),
        ("ensemble_size", pa.int32()),
        ("other_fields", pa.string()),
        ("level", pa.string()),
        ("variance", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("std", pa.float64()),
        ("share", pa.float64()),
        ("degrees", pa.int32()),
        ("num_trials", pa.int32()),
        ("p", pa.float64()),
        ("note", pa.string()),
    ]
)
"""The columns are described in docs/statistics.md."""

LEVELS = ("seed", *SEED_LEVELS)


def components_table(sample: Sample, outcomes: Iterable[str], confidence: float) -> pa.Table:
    """Return the variance of each outcome at each setting by the seeds that differ there, as `COMPONENTS`.

    Empty for a study that searches no seed of the student.
    """
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        for setting, values in sample.repeats.of(outcome).items() if sample.repeats else ():
            arm = arm_of(sample.recipes[setting], outcome)
            labels = {"study": sample.study, "outcome": outcome, **_labels(setting, arm)}
            rows += [{**labels, "num_trials": len(values), **row} for row in _components(values, confidence)]
    return pa.Table.from_pylist(rows, schema=COMPONENTS)


def _components(values: Mapping[Drawn, float], confidence: float) -> Iterator[dict[str, Any]]:
    levels = [sorted({seeds[index] for seeds in values}) for index in range(len(LEVELS))]
    varied = [index for index, found in enumerate(levels) if len(found) > 1]
    if not varied:
        return
    cells = np.full([len(levels[index]) for index in varied], np.nan)
    for seeds, value in values.items():
        cells[tuple(levels[index].index(seeds[index]) for index in varied)] = value
    names = [LEVELS[index] for index in varied]
    if np.isnan(cells).any() or len(values) != cells.size:
        yield {"level": " x ".join(names), "note": "no components: not every combination of these seeds is completed"}
        return
    components = variance_components(cells, confidence)
    total = sum(max(0.0, component.variance) for component in components)
    for name, component in zip([*names, REST], components, strict=False):
        yield {"level": name, **_columns(component, total)}


def _columns(component: Component, total: float) -> dict[str, Any]:
    variance = max(0.0, component.variance)
    return {
        "variance": component.variance,
        "low": component.low,
        "high": component.high,
        "std": variance**0.5,
        "share": variance / total if total > 0 else None,
        "degrees": component.degrees,
        "p": component.p,
    }


def _labels(setting: Setting, arm: Arm) -> dict[str, Any]:
    held = {name: getattr(setting, name) for name in (STRENGTH, STUDENT, SIZE)}
    others = ", ".join(f"{name}={value}" for name, value in setting.others)
    return {"distillation_loss": arm.label, "attention_maps": arm.maps, **held, "other_fields": others}

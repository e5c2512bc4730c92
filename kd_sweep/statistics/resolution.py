"""The resolution of metrics: shares of images move in steps of one image."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kd_sweep.study.metric_catalogue import DIFFERENCES

MAX_IMAGES = 50_000
"""Steps finer than this make no difference to any interval."""
ROUNDING = math.sqrt(1.0 / 12.0)
"""Standard deviation of what rounding to whole steps hides, in steps."""

_NUMBERS = np.arange(1.0, MAX_IMAGES + 1)
_MAX_VALUES = 12
_TOLERANCE = 1e-4


def resolution(values: Iterable[float]) -> float:
    """Return 1 / n for the smallest n of which all values are multiples, as shares of n images are; 0 for no such n.

    Args:
        values: of one metric. Constants and zeros tell nothing.
    """
    different = np.unique(values if isinstance(values, np.ndarray) else np.fromiter(values, dtype=np.float64))
    different = different[np.abs(different) > _TOLERANCE / MAX_IMAGES]
    if len(different) < 2:
        return 0.0
    numbers = _NUMBERS
    for value in different[np.linspace(0, len(different) - 1, min(_MAX_VALUES, len(different))).astype(int)]:
        products = numbers * value
        distances = np.rint(products)
        distances -= products
        numbers = numbers[np.abs(distances, out=distances) < _TOLERANCE]
    return 1.0 / float(numbers[0]) if len(numbers) else 0.0


def resolutions(rows: Sequence[Mapping[str, Any]], metrics: Iterable[str]) -> dict[str, float]:
    """Return the resolution of each metric over the rows of all trials; nulls and infinities are passed over."""
    return resolutions_of(
        (name, np.array([row[name] for row in rows if row.get(name) is not None], float)) for name in metrics
    )


def resolutions_of(columns: Iterable[tuple[str, np.ndarray]]) -> dict[str, float]:
    """Return the resolution of each metric over its values in all trials; what is not finite is passed over."""
    steps = {name: resolution(values_N[np.isfinite(values_N)]) for name, values_N in columns}
    for name, parts in DIFFERENCES.items():
        if name in steps:  # shares of two sets of images: it moves in the coarser set's steps, and finer ones between
            steps[name] = max([steps[name], *(steps[part] for part in parts if part in steps)])
    return steps

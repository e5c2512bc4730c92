"""The columns by which named queries keep trials apart, and their names in SQL."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from kd_sweep.study.trial import SEED_LEVELS
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import FINISHED

DIMENSIONS = ("augmentation_strength", "ensemble_size")
FINISHED_SQL = "status IN (" + ", ".join(f"'{status}'" for status in FINISHED) + ")"


def searched_fields(results: Results) -> list[str]:
    """Return the columns of the searched fields but those of seeds: the two main ones, then those that studies added.

    Last are versions of plug-ins, where there are several: trials of two are never averaged.
    """
    searched = [name for name in results.searched_columns() if name not in SEED_LEVELS]
    return [*DIMENSIONS, *searched, *results.varying_sources()]


def listed(columns: Sequence[str]) -> str:
    """Return the columns as SQL lists them."""
    return ", ".join(f'"{name}"' for name in columns)


def ordered(columns: Sequence[str]) -> str:
    """Return the columns as SQL sorts by them, nulls last."""
    return ", ".join(f'"{name}" NULLS LAST' for name in columns)


def without_empty(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Drop those of the columns that hold nothing."""
    empty: list[Any] = [name for name in columns if table[name].null_count == table.num_rows]
    return table.drop_columns(empty) if empty else table

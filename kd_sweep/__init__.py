"""Distributed hyperparameter sweeps for ensemble knowledge distillation."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from kd_sweep.tables.reader import Results

__version__ = "0.1.0"
__all__ = ["__version__", "open_results"]


def open_results(root: "str | Path") -> "Results":
    """Open a results root, or one study in it, for reading; see `kd_sweep.tables.reader.open_results`.

    Raises:
        StorageError: there is no such folder, or no study in it. One line.
    """
    from kd_sweep.tables import reader

    return reader.open_results(root)

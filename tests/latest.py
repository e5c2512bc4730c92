"""The latest file among those with the terms of their writers in their names."""

from pathlib import Path

from kd_sweep.storage.terms import of_term


def latest(folder: Path, name: str) -> Path:
    """Return the file of the latest term: ``last-00000002.safetensors`` for ``last.safetensors``.

    If there is none it is that of the first term.
    """
    stem, dot, suffix = name.rpartition(".")
    return max(folder.glob(f"{stem}-*{dot}{suffix}"), default=folder / of_term(name, 1))

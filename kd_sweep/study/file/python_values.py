"""Python values as the content of a study file: what a file could hold, and nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kd_sweep.errors import SpecError
from kd_sweep.study.file.yaml_reader import MAX_DEPTH, Document, KeyPath, one_line, written

POSSIBLE = "possible: None, bool, int, float, str, lists and mappings of them, NumPy's numbers and arrays, paths"


def python_document(value: Any, source: str = "") -> Document:
    """Return a value as the content of a study file.

    Tuples and ranges become lists, paths text, and NumPy's numbers and arrays plain numbers and lists.

    Args:
        value: the value; it is copied.
        source: what errors call it; nothing where they are to name the field alone.

    Raises:
        SpecError: a study file cannot hold it. One line with the field.
    """
    return Document(source, _plain(value, ()))


def _plain(value: Any, path: KeyPath) -> Any:
    if len(path) > MAX_DEPTH:
        raise SpecError(f"{one_line(written(path), 120)}: is nested deeper than {MAX_DEPTH} levels")
    if value is None or type(value) in (bool, int, float, str):
        return value
    for kind in (int, float, str):  # subclasses, such as members of an enumeration
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {_key(key, path): _plain(inner, (*path, key)) for key, inner in value.items()}
    if isinstance(value, list | tuple | range):
        return [_plain(inner, (*path, index)) for index, inner in enumerate(value)]
    if hasattr(value, "tolist"):  # NumPy's, which need not be loaded here
        return _plain(value.tolist(), path)
    where = f"{one_line(written(path), 120)}: " if path else ""
    raise SpecError(f"{where}a {type(value).__name__} is nothing that a study file can hold; {POSSIBLE}")


def _key(key: Any, path: KeyPath) -> str:
    if not isinstance(key, str):
        where = f"{one_line(written(path), 120)}: " if path else ""
        raise SpecError(f"{where}{one_line(repr(key), 60)} is not a key: keys are text")
    return key

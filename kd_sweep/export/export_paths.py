"""Where an export goes: what may be there already, and how its files get there whole."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kd_sweep.errors import StorageError
from kd_sweep.export.finished_study import FinishedStudy
from kd_sweep.storage.local_files import is_temporary
from kd_sweep.storage.locations import expanded
from kd_sweep.storage.tensor_files import write_atomic

MARK = "kd-sweep-export.json"
"""The file in a folder that says what was exported into it."""


def mark_of(study: FinishedStudy, target: str) -> dict[str, Any]:
    """Return what an export says of itself: whatever has the same mark, another export of it may replace."""
    created_at = study.row.get("created_at")
    return {"exported_by": "kd-sweep", "to": target, "study": study.name, "created_at": str(created_at or "")}


def local_path(out: str) -> Path:
    """Return the path of an export in full.

    Raises:
        StorageError: it is in an object store, or the folder around it is missing. One line.
    """
    if "://" in out:
        raise StorageError(f"--out: {out} is no path on this machine; write it there, and copy it")
    path = expanded(out).absolute()
    if not path.parent.is_dir():
        raise StorageError(f"--out: {path.parent} is not a folder; make it first")
    return path


def refuse(path: Path, found: str) -> StorageError:
    """Return the error for something else that is at ``path``."""
    return StorageError(f"--out: {path} {found}; choose another path, or remove it")


def check_file(path: Path) -> bool:
    """Return whether there is a file; raise `StorageError` for a folder."""
    if path.is_dir():
        raise refuse(path, "is a folder")
    return path.exists()


def check_mark(path: Path, found: Any, wanted: dict[str, Any]) -> None:
    """Raise `StorageError` where what is at ``path`` has another mark than that of this export, or none."""
    if not isinstance(found, dict) or found.get("exported_by") != wanted["exported_by"]:
        raise refuse(path, "is there and no export of kd-sweep")
    if any(found.get(name) != value for name, value in wanted.items()):
        what = f"is an export of study {found.get('study')!r} of {found.get('created_at')} to {found.get('to')}"
        raise refuse(path, what)


def check_folder(path: Path, wanted: dict[str, Any]) -> None:
    """Return where an export may use ``path`` as its folder: it is missing, empty, or has the same mark.

    Raises:
        StorageError: it is a file, another export, or not empty. One line.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise refuse(path, "is a file")
    if (path / MARK).is_file():
        check_mark(path, _json((path / MARK).read_bytes()), wanted)
    elif any(not is_temporary(one.name) for one in path.iterdir()):
        raise refuse(path, "is not empty and no export of kd-sweep")


def begin_folder(path: Path, mark: dict[str, Any]) -> bool:
    """Mark a folder as that of an export, and remove what a killed export was writing; return whether it is new."""
    is_new = write_file(path / MARK, json.dumps(mark, indent=1).encode() + b"\n")
    for file in path.rglob("*"):
        if is_temporary(file.name):
            file.unlink(missing_ok=True)
    return is_new


def write_file(path: Path, content: bytes) -> bool:
    """Write a file in one step; return False where it has this content already."""
    if path.is_file() and path.read_bytes() == content:
        return False
    for leftover in _leftovers(path):
        leftover.unlink(missing_ok=True)
    write_atomic(path, content, durable=False)  # what a power cut takes, the next export brings back
    return True


def _leftovers(path: Path) -> Iterator[Path]:
    """Yield the files that a killed export left beside ``path`` under temporary names."""
    if path.parent.is_dir():
        for other in path.parent.iterdir():
            if other.name.startswith(f".{path.name}.") and is_temporary(other.name):
                yield other


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None

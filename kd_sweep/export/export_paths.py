"""Where an export goes: what may be there already, and how its files get there whole."""

import contextlib
import datetime
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kd_sweep.errors import StorageError
from kd_sweep.storage.local_files import TEMPORARY_SUFFIX, is_temporary
from kd_sweep.storage.locations import expanded
from kd_sweep.storage.tensor_files import write_atomic

MARK = "kd-sweep-export.json"
"""The file in a folder that says what was exported into it."""


Mark = dict[str, str]
"""What an export says of itself: whatever has the same mark, another export of it may replace."""


def mark_of(study: str, created_at: datetime.datetime | None, target: str) -> Mark:
    """Return the mark of a study that was created then, for a target."""
    return {"exported_by": "kd-sweep", "to": target, "study": study, "created_at": str(created_at or "")}


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


def check_file(path: Path, wanted: Mark, mark_in: Callable[[Path], Any]) -> None:
    """Return where an export may use ``path`` as its file: it is missing, or has the same mark.

    Args:
        path: of the file.
        wanted: the mark.
        mark_in: returns the mark in a file; None where it has none.

    Raises:
        StorageError: it is a folder, another export, or something else. One line.
    """
    if path.is_dir():
        raise refuse(path, "is a folder")
    if path.exists():
        check_mark(path, mark_in(path), wanted)


def check_mark(path: Path, found: Any, wanted: Mark) -> None:
    """Raise `StorageError` where what is at ``path`` has another mark than that of this export, or none."""
    if not isinstance(found, dict) or found.get("exported_by") != wanted["exported_by"]:
        raise refuse(path, "is there and no export of kd-sweep")
    if any(found.get(name) != value for name, value in wanted.items()):
        what = f"is an export of study {found.get('study')!r} of {found.get('created_at')} to {found.get('to')}"
        raise refuse(path, what)


def check_folder(path: Path, wanted: Mark) -> None:
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


def folder_mark(path: Path) -> Mark:
    """Return the mark of a folder that is there, or will be: an empty one then."""
    found = _json((path / MARK).read_bytes()) if (path / MARK).is_file() else None
    return found if isinstance(found, dict) else {}


def begin_folder(path: Path, mark: Mark) -> bool:
    """Mark a folder as that of an export, and remove what a killed export was writing; return whether it is new."""
    is_new = write_file(path / MARK, json.dumps(mark, indent=1).encode() + b"\n")
    for leftover in [one for one in path.rglob("*") if is_temporary(one.name)]:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
    return is_new


def write_file(path: Path, content: bytes) -> bool:
    """Write a file in one step; return False where it has this content already."""
    if path.is_file() and path.read_bytes() == content:
        return False
    for leftover in _leftovers(path):
        leftover.unlink(missing_ok=True)
    write_atomic(path, content, durable=False)  # what a power cut takes, the next export brings back
    return True


@contextlib.contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Yield a path for a file that a library writes, in a folder of its own; it becomes ``path`` in one step.

    It stays what it was where the block raises.
    """
    for leftover in _leftovers(path):
        shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=TEMPORARY_SUFFIX, dir=path.parent))
    try:
        yield folder / path.name
        (folder / path.name).replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _leftovers(path: Path) -> Iterator[Path]:
    """Yield what a killed export left beside ``path`` under temporary names."""
    if path.parent.is_dir():
        for other in path.parent.iterdir():
            if other.name.startswith(f".{path.name}.") and is_temporary(other.name):
                yield other


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None

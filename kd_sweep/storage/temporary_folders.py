"""Temporary folders: gone when the block ends, or, after a kill, when the next process makes one."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kd_sweep.errors import StorageError

PREFIX = "kd-sweep-"
OWNER = ".kd-sweep-scratch"
"""A file in each of our folders, locked by the process that made it for as long as that lives."""


def temporary_folder() -> Path:
    """Return the folder for temporary folders: ``TMPDIR``, or the system's.

    Raises:
        StorageError: there is no such folder.
    """
    named = os.environ.get("TMPDIR")
    try:
        folder = Path(named or tempfile.gettempdir()).absolute()
    except FileNotFoundError:
        raise StorageError("no temporary folder can be written; set TMPDIR to a folder that can") from None
    if not folder.is_dir():
        raise StorageError(f"TMPDIR: {folder} is not a folder; set it to one that can be written")
    return folder


@contextlib.contextmanager
def scratch_folder(purpose: str, parent: Path | None = None) -> Iterator[Path]:
    """Yield a new folder that no other user can read, and remove it with what is in it when the block ends.

    What a killed process left is removed first. A folder is abandoned when nobody holds the lock of the file `OWNER` in
    it: the kernel frees a dead process's locks, and keeps those of one that is suspended.

    Args:
        purpose: one word, for its name.
        parent: the folder around it; `temporary_folder()` when None.

    Raises:
        StorageError: it cannot be written there; the message names the variable to set.
    """
    parent = parent or temporary_folder()
    remove_abandoned(parent)
    with contextlib.ExitStack() as stack:
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-", dir=parent))
            stack.callback(_remove, folder)
            owner = stack.enter_context((folder / OWNER).open("wb"))
            with contextlib.suppress(OSError):  # a filesystem without locks: its leftovers stay
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            owner.write(f"{os.getpid()}\n".encode())
            owner.flush()
        except OSError as error:
            raise StorageError(
                f"the temporary folder {parent} cannot be written ({error.strerror}); "
                "set TMPDIR to a folder with room that can"
            ) from None
        yield folder


def remove_abandoned(parent: Path) -> None:
    """Remove the folders that killed processes of this user left in ``parent``."""
    for owner in parent.glob(f"{PREFIX}*/{OWNER}"):
        with contextlib.suppress(OSError):  # held by a living process, another user's, or removed meanwhile
            if owner.parent.is_symlink() or owner.lstat().st_uid != os.getuid():
                continue
            with owner.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(owner.parent)


def _remove(folder: Path) -> None:
    """Remove ``folder``, its `OWNER` last: if this is cut short, the rest is still known to be abandoned."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != OWNER:
                path.unlink(missing_ok=True)
        (folder / OWNER).unlink(missing_ok=True)
        folder.rmdir()

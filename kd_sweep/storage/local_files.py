"""Files of a mounted filesystem: written to temporary names, renamed, linked and synced, so that they appear whole."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

TEMPORARY_SUFFIX = ".tmp"


@contextlib.contextmanager
def replacement(target: Path, temporary: Path, *, durable: bool) -> Iterator[BinaryIO]:
    """Yield a stream to ``temporary``, which becomes ``target`` when the block ends well and else is removed."""
    ensure_folder(target.parent)
    try:
        with temporary.open("x+b") as sink:
            yield sink
            sink.flush()
            if durable:
                os.fsync(sink.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(target.parent)


def link(source: Path, target: Path, temporary: Path) -> bool:
    """Put a file's content under a second name, by a hard link; return False where the filesystem has none.

    ``target`` is replaced in one step by way of ``temporary``, a new name on the same filesystem.
    """
    ensure_folder(target.parent)
    try:
        temporary.hardlink_to(source)
        temporary.replace(target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        return False
    finally:
        temporary.unlink(missing_ok=True)  # still there where both names were one file already
    sync_folder(target.parent)
    return True


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[bool]:
    """Hold the lock of a folder, which is made, for the block; yield False where another process holds it.

    No file is left, and the kernel frees the lock of a process that has died. Where a folder cannot be made, or the
    filesystem has no locks for folders, as those of some networks, True is yielded without one: this orders work that
    may be done twice, and protects no file.
    """
    descriptor = None
    with contextlib.suppress(OSError):
        ensure_folder(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor is None or not _is_locked_elsewhere(descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _is_locked_elsewhere(descriptor: int) -> bool:
    """Lock what is open, and return whether that is another's already."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass  # there are no such locks
    return False


def as_named(path: Path) -> Path:
    """Return a path in full, without ``.`` and ``..``, ending in the name that the user gave or stands in.

    Links are followed only where they stand before a ``..``, as the kernel does; the working directory is what the
    shell shows, which is a link where the user went through one.
    """
    full = path if path.is_absolute() else _working_directory() / path
    named = Path(full.anchor)
    for part in full.parts[1:]:
        named = named.resolve().parent if part == ".." else named / part
    return named


def _working_directory() -> Path:
    here, shown = Path.cwd(), Path(os.environ.get("PWD", ""))
    return shown if shown.is_absolute() and shown.is_dir() and shown.samefile(here) else here


def is_temporary(name: str) -> bool:
    """Whether a file name is that of a file that is being written, or whose writer was killed."""
    return name.startswith(".") and name.endswith(TEMPORARY_SUFFIX)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def local_sizes(base: str) -> Iterator[tuple[str, int]]:
    """Yield every file below ``base``, by its name below it, and its bytes."""
    for folder, _, names in os.walk(base):
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118 (a root may hold a hundred thousand files)
            with contextlib.suppress(FileNotFoundError):
                yield os.path.relpath(path, base), os.lstat(path).st_size


def ensure_folder(folder: Path) -> None:
    """Create a folder and those around it, durably."""
    if folder.is_dir():
        return
    ensure_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        sync_folder(folder.parent)

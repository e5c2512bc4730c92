"""Failures of a filesystem as errors of ours: what could not be done, and why, on one line."""

import contextlib
import os
from collections.abc import Iterator

from kd_sweep.errors import StorageError


@contextlib.contextmanager
def failures_to_read(where: str) -> Iterator[None]:
    """Raise what the filesystem refuses in the block as `StorageError`.

    A parser's complaints about what it has read are no failures of the filesystem: theirs have no number.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise error if error.errno is None else unreadable(where, error) from None


def unreadable(where: str, error: OSError) -> StorageError:
    """Return the error of a file or folder that the filesystem does not let us read."""
    return StorageError(f"{where} cannot be read: {reason_of(error)}")


def reason_of(error: OSError) -> str:
    """Return why the filesystem refused, on one line."""
    if error.errno is not None and error.strerror:
        return os.strerror(error.errno) if error.errno > 0 else error.strerror
    lines: list[str] = str(error).splitlines() or [type(error).__name__]
    return lines[0]

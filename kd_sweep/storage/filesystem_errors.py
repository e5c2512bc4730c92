"""Failures of a filesystem as errors of one line: the path and the reason."""

import contextlib
import os
from collections.abc import Iterator

from kd_sweep.errors import StorageError


@contextlib.contextmanager
def failures_to_read(path: str) -> Iterator[None]:
    """Raise failures of the filesystem in the block as `StorageError`.

    Errors that a parser raises about content have no number: they pass unchanged.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise error if error.errno is None else unreadable(path, error) from None


def unreadable(path: str, error: OSError) -> StorageError:
    """Return the error of a file or folder that cannot be read."""
    return StorageError(f"{path} cannot be read: {reason_of(error)}")


def reason_of(error: OSError) -> str:
    """Return why the filesystem refused, on one line."""
    if error.errno is not None and error.strerror:
        return os.strerror(error.errno) if error.errno > 0 else error.strerror
    lines: list[str] = str(error).splitlines() or [type(error).__name__]
    return lines[0]

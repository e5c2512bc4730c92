"""The log of a driver: what it prints, of which the beginning and the end are kept where it prints too much.

The driver writes to the file itself, so that its last words are there however it ends. What is left out becomes a hole
in the file: it takes no room on the disk, and every byte behind it stays where readers have noted it.
"""

import ctypes
import logging
import os
import threading
import time
from functools import cache
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 32 << 20
"""On the disk; what a driver prints within `_PAUSE_S` comes on top of it."""
_PAUSE_S = 0.1
_BEGINNING, _END = 1 << 20, 8 << 20
"""Bytes that are kept then."""
_BLOCK = 1 << 16
"""Holes begin and end at multiples: part of a block would be zeros in what is kept."""
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
"""Of fallocate(2)."""
_LOG = logging.getLogger(__name__)


def keep_bounded(path: Path) -> None:
    """Bound the log of this process from now on, in a thread: a driver's, whether a service runs or not."""

    def work() -> None:
        while True:
            time.sleep(_PAUSE_S)
            bound_log(path)

    threading.Thread(target=work, name="bound log", daemon=True).start()


def bound_log(path: Path) -> None:
    """Leave the middle of a log out where it takes more than `MOST_BYTES` on the disk."""
    try:
        found = path.stat()
        if found.st_blocks * 512 <= MOST_BYTES:
            return
        end = (found.st_size - _END) // _BLOCK * _BLOCK
        with path.open("r+b") as file:
            _punch(file, _BEGINNING, end - _BEGINNING)
    except FileNotFoundError:
        return
    except OSError as error:
        _warn_once(path, error.strerror)


def read_log(path: Path, offset: int | None, limit: int, *, is_complete: bool) -> tuple[str, int]:
    """Return whole lines of a log from an offset, or its last ones where that is None, and the offset behind them.

    What was left out is a line of its own, which says how much it was.

    Args:
        path: of the log.
        offset: in bytes.
        limit: the most bytes.
        is_complete: whether nothing more comes, so that its last line needs no end.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        begin = max(0, size - limit) if offset is None else min(max(0, offset), size)
        data = _next(file, begin, size, os.SEEK_DATA)
        stop = _next(file, data, size, os.SEEK_HOLE)
        file.seek(data)
        content = file.read(min(limit, stop - data))
    left_out = ""
    if data > begin or (offset is None and begin):
        skipped = content.find(b"\n") + 1
        left_out = f"[{data - begin + skipped} bytes are left out here]\n" if data > begin else ""
        data, content = data + skipped, content[skipped:]
    is_cut = stop < size and data + len(content) == stop
    end = content.rfind(b"\n") + 1 or (len(content) if len(content) == limit or is_complete else 0)
    if is_cut:
        return left_out + content.decode(errors="replace").rstrip("\n") + "\n", stop
    return left_out + content[:end].decode(errors="replace"), data + end


def last_line(path: Path, num_bytes: int = 8192) -> str | None:
    """Return the last line of a log that is not empty; None where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - num_bytes))
            lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    except OSError:
        return None
    return lines[-1][:400] if lines else None


@cache
def _warn_once(path: Path, reason: str | None) -> None:
    _LOG.warning("the log %s grows without a bound: %s", path, reason)


def _next(file: BinaryIO, offset: int, size: int, what: int) -> int:
    """Return where the next data, or the next hole, begins; the size where there is none."""
    try:
        return min(size, os.lseek(file.fileno(), offset, what)) if offset < size else size
    except OSError:  # nothing but a hole, or a filesystem without holes
        return size if what == os.SEEK_HOLE else offset


def _punch(file: BinaryIO, offset: int, length: int) -> None:
    if length <= 0:
        return
    call = ctypes.CDLL(None, use_errno=True).fallocate
    arguments = (ctypes.c_int(file.fileno()), ctypes.c_int(_KEEP_SIZE | _PUNCH_HOLE))
    if call(*arguments, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

"""Tables that were read, kept for as long as their files are the same."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa

from kd_sweep.storage.root import Root


class KeptTables:
    """Tables that were read, the latest used, each for as long as its file is the same: a view reads one ten times.

    A file is the same while its number, size and times are, as an open file has them: a network filesystem can answer
    for a path from memory. One that was written a moment ago could be written again without another time, and is not
    kept, nor is what is not on a mounted filesystem.
    """

    def __init__(self) -> None:
        self._tables: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._turns = [threading.Lock() for _ in range(_TURNS)]

    def get(self, root: Root, file: str, read: Callable[[], pa.Table]) -> pa.Table:
        """Return the table in a file: the one that was read before, or what ``read`` returns, once for all who wait."""
        location = root.location_of(file)
        with self._turns[hash(location) % _TURNS]:
            identity, is_settled = _identity(root, file)
            with self._lock:
                known = self._tables.pop(location, None)
                if known is not None and known.identity == identity:
                    self._tables[location] = known
                    return known.table
            table = read()
            if is_settled and (num_bytes := table.nbytes) <= KEPT_BYTES:
                with self._lock:
                    self._tables[location] = _Kept(identity, table, num_bytes)
                    while sum(kept.num_bytes for kept in self._tables.values()) > KEPT_BYTES:
                        self._tables.popitem(last=False)
            return table


class _Kept(NamedTuple):
    identity: tuple[int, ...]
    table: pa.Table
    num_bytes: int
    """Arrow counts them column by column each time."""


KEPT_BYTES = 32 * 1024**2
"""Of all tables that are kept."""
_TURNS = 16
"""Files whose numbers are equal modulo this wait for each other."""
_SETTLED_S = 0.1


def keep_no_tables() -> None:
    """Keep no table from now on: for a process that reads each once."""
    global KEPT_BYTES
    KEPT_BYTES = -1


def _identity(root: Root, file: str) -> tuple[tuple[int, ...], bool]:
    """Return what tells a file from the one that was there before, and whether that will hold; nothing, if not."""
    if not root.is_local:
        return (), False
    try:
        with root.local_path(file).open("rb", buffering=0) as opened:
            found = os.fstat(opened.fileno())
    except OSError:  # reading it says why
        return (), False
    is_settled = time.time() - max(found.st_mtime, found.st_ctime) > _SETTLED_S
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns), is_settled

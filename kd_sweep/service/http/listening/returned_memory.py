"""The memory of the process of the service: what an answer has taken goes back to the system."""

import contextlib
import ctypes
import gc
import os
import time

from kd_sweep.tables.arrow_alone import import_arrow_alone

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""Of glibc's malloc.h."""
_ARENAS = 2
_APART_BYTES = 256 * 1024
"""What is larger goes back when it is freed: malloc would raise this by itself, up to 32 MB."""
_FREE_BYTES = 4 * 1024**2
"""At the end of the heap, which malloc keeps."""
_POOL = "ARROW_DEFAULT_MEMORY_POOL"
_PAUSE_S = 5.0
_given_back_at = 0.0


def keep_little() -> None:
    """Import Arrow so that it uses the allocator of the system, without pandas; let that allocator keep few arenas.

    Arrow's own allocators keep what they have once had: 0.1 GB after views of two million epochs. It reads which one to
    use when it is loaded, so this has to be before; a pool that is set later is not that of scans. Pandas, which Arrow
    imports where it is installed, would be 30 MB. And each of some tens of threads would get an arena of its own.
    """
    is_chosen = _POOL in os.environ
    os.environ.setdefault(_POOL, "system")
    import_arrow_alone()
    if not is_chosen:
        del os.environ[_POOL]  # drivers, which train, have Arrow's own
    with contextlib.suppress(OSError, AttributeError):  # a system without glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _APART_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _FREE_BYTES)


def give_back() -> None:
    """Give back what is free, with what objects hold that refer to each other.

    Those of Arrow are few and hold much, such as the footers of all files of a study: Python would look for them late.
    """
    global _given_back_at
    _given_back_at = time.monotonic()
    gc.collect()
    trim()


def trim() -> None:
    """Give what is free in the middle of the heap back to the system: after a view that is up to 0.1 GB, for 15 ms."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def give_back_at_times() -> None:
    """Give it back unless that was done a moment ago: behind what takes less, but comes from many at once."""
    if time.monotonic() - _given_back_at > _PAUSE_S:
        give_back()

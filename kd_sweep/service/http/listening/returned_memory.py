"""The memory of the process of the service: what an answer has taken goes back to the system."""

import contextlib
import ctypes

import pyarrow as pa

_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""
_ARENAS = 2


def keep_little() -> None:
    """Let Arrow use the allocator of the system, and that keep few arenas, from now on.

    Arrow's own allocators keep what they have once had: after a page of a study of two million epochs 0.1 GB more. And
    each of some tens of threads that read and answer would get an arena of its own.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    with contextlib.suppress(OSError, AttributeError):  # a system without glibc
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Give what is free in the middle of the heap back to the system: after a view that is up to 0.1 GB, for 15 ms."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)

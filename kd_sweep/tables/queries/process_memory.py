"""The memory of a process that runs SQL: bounded by the kernel, as DuckDB's limit does not hold within one value."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOM_BYTES = 384 * 1024**2
"""Of stacks of threads, parts of files that are read, and what allocators keep."""
_STATUS = Path("/proc/self/status")


def writable_bytes() -> int | None:
    """Return how much memory this process has that it may write to; None where the kernel does not say it."""
    try:
        (line,) = (line for line in _STATUS.read_text().splitlines() if line.startswith("VmData:"))
        return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return None


@contextmanager
def bounded_memory(num_bytes: int) -> Iterator[None]:
    """Let this process have so much more memory than it has now while the block runs; beyond that allocations fail.

    What counts is what it may write to, as Linux counts it for ``RLIMIT_DATA``: not the files of libraries, and not the
    addresses that allocators only reserve. Elsewhere nothing is bounded.

    Args:
        num_bytes: for a statement and its answer. Each may have as much, and `ROOM_BYTES` are added.
    """
    own, (before, hard) = writable_bytes(), resource.getrlimit(resource.RLIMIT_DATA)
    if own is not None:
        wanted = own + 2 * num_bytes + ROOM_BYTES
        limits = [limit for limit in (wanted, before, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))

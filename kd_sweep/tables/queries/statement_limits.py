"""The limits of a statement: how long it may take, and how much memory."""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from kd_sweep.errors import QueryError

TIMEOUT_S = 300.0
"""Time limit of a statement unless another is given."""
MEMORY_BYTES = 4 * 1000**3
"""Memory limit of a statement and its answer unless another is given; never above half of the machine's."""
LEAST_MEMORY_BYTES = 10 * 1000**2
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True)
class Limits:
    """The limits of one statement: it may run beside a sweep."""

    timeout_s: float = TIMEOUT_S
    """It is stopped after so long; `math.inf`: never."""
    memory_bytes: int = field(default_factory=lambda: min(MEMORY_BYTES, _physical_bytes() // 2))
    """Of DuckDB, and of the answer. Nothing is put aside on the disk."""

    def __post_init__(self) -> None:
        if not self.timeout_s > 0:
            raise QueryError(f"timeout: {self.timeout_s:g} s is not above 0")
        if self.memory_bytes < LEAST_MEMORY_BYTES:
            from pydantic import ByteSize  # only where it is wrong

            least = ByteSize(LEAST_MEMORY_BYTES).human_readable(decimal=True)
            raise QueryError(f"memory limit: {self.memory_bytes} bytes are not at least {least}")


def _physical_bytes() -> int:
    """Return the memory of the machine, or of the container that this process may not leave."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit: `max`
        return min(installed, int(_CONTAINER_LIMIT.read_text()))
    return installed

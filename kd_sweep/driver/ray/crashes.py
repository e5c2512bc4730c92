"""The crash of a process of Ray's on this machine: Ray reports that it went away, and its own log says why."""

import re

SIGNAL = re.compile(r"\*\*\* (?P<name>SIG[A-Z]+) received")
"""What Ray's handler writes at a signal that ends the process."""

PYTHONS_NAMES = {
    "Aborted": "SIGABRT",
    "Segmentation fault": "SIGSEGV",
    "Bus error": "SIGBUS",
    "Floating point exception": "SIGFPE",
    "Floating-point exception": "SIGFPE",
    "Illegal instruction": "SIGILL",
}
FATAL = re.compile(r"Fatal Python error: (?P<name>[A-Za-z -]+)")
"""What Python writes at the same signals."""

HEAP = re.compile(
    r"^(double free|free\(\)|malloc|munmap_chunk|corrupted|realloc\(\)|terminate called|std::bad_alloc).*"
)
"""What the C library says of a damaged heap, or the C++ library of an exception, before it aborts."""

PID = re.compile(r"^\s*pid: (\d+)$", re.MULTILINE)
"""Where Ray's account of an actor's death has its process."""


def how_crashed(pid: int) -> str | None:
    """Return by what a worker of this process's own node was ended, as ``SIGABRT: double free or corruption``.

    None for a worker of another node, and for one that could not write it any more: a SIGKILL leaves no trace.
    """
    from kd_sweep.driver.ray.private import own_logs_folder

    folder = own_logs_folder()
    log = None if folder is None else next(folder.glob(f"worker-*-{pid}.err"), None)
    return None if log is None else crash_in(log.read_text(errors="replace"))


def crash_in(log: str) -> str | None:
    """Return the last crash in a worker's log, None where there is none."""
    if signals := list(SIGNAL.finditer(log)):
        end, name = signals[-1].start(), signals[-1]["name"]
    elif fatal := list(FATAL.finditer(log)):
        end, name = fatal[-1].start(), PYTHONS_NAMES.get(fatal[-1]["name"].strip(), fatal[-1]["name"].strip())
    else:
        return None
    causes = [line.strip() for line in log[:end].splitlines() if HEAP.match(line.strip())]
    return f"{name}: {causes[-1]}" if causes else name

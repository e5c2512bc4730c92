"""The identity of a process: host, pid and start, enough to tell later whether it still lives."""

import functools
import os
import socket
import subprocess
from pathlib import Path
from typing import NamedTuple


class PidScope(NamedTuple):
    """The scope in which a process id names one process: a boot of a host's kernel and a process namespace in it."""

    host: str
    boot_id: str | None
    pid_namespace: str | None


@functools.cache
def this_pid_scope() -> PidScope:
    """Return the scope of this process's id."""
    return PidScope(socket.gethostname(), _read("/proc/sys/kernel/random/boot_id"), _link("/proc/self/ns/pid"))


def process_start(pid: int) -> str | None:
    """Return when a process of this scope started, in its kernel's units; None if there is no such process.

    Pid and start together name one process, since pids are reused. A process that has ended but was not waited for
    counts as gone. Without ``/proc``, `ps` is run.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _start_from_ps(pid)
    except (ProcessLookupError, PermissionError):
        return None
    # The second field is the command in parentheses and may hold spaces and parentheses itself.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZXx" else fields[18]


def is_alive(pid: int, start: str | None) -> bool:
    """Whether the process with this pid in this scope is still the one that started at ``start``."""
    now = process_start(pid)
    return now is not None and (start is None or now == start)


def this_process() -> tuple[int, str | None]:
    """Return this process's pid and start."""
    return os.getpid(), _own_start()


@functools.cache
def _own_start() -> str | None:
    return process_start(os.getpid())


os.register_at_fork(after_in_child=_own_start.cache_clear)


def _start_from_ps(pid: int) -> str | None:
    output = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return output.stdout.strip() or None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def _link(path: str) -> str | None:
    try:
        return str(Path(path).readlink())
    except OSError:
        return None

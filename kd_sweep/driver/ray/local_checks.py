"""The checks of this machine before it starts Ray: its CPUs, a folder for sockets, the loopback interface, memory."""

import os
import resource
import shutil
import socket
from pathlib import Path

from kd_sweep.errors import RayStartError, StorageError
from kd_sweep.storage.temporary_folders import PREFIX, temporary_folder

NEEDED_BYTES = 64 * 2**20
"""Free space for Ray's logs and sockets."""

NEEDED_ADDRESSES_BYTES = 8 * 2**30
"""Of address space, for a worker that has imported torch; Ray's own parts abort with less."""

LONGEST_SOCKET = 107
"""Bytes of a socket's path that Linux allows."""

SOCKETS = {"raylet_socket_name": "raylet", "plasma_store_socket_name": "plasma_store"}
"""Names of Ray's sockets by the parameter that has their path."""

SESSIONS = "ray"
"""What Ray has in our folder: its logs and sockets. Ray opens this one to everybody, and so ours is around it."""

CONNECT_S = 5.0

RANDOM_NAME = "x" * 8
"""As long as what `scratch_folder` adds to a name."""


QUOTAS = ("cpu.max", "cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")
"""Files of control groups: of version 2, quota and period; of version 1, one each."""


def usable_cpus(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many CPUs this process may use: fewer than the machine has under `taskset`, Slurm or in a container.

    Args:
        groups: where this process's control group is mounted, as it is in a container.
    """
    texts = [(groups / name).read_text().split() if (groups / name).is_file() else [] for name in QUOTAS]
    quota, period = [*texts[0], *texts[1], *texts[2], "max", "max"][:2]
    cpus = len(os.sched_getaffinity(0))
    is_limited = quota.isdecimal() and period.isdecimal()
    return max(1, min(cpus, int(quota) // int(period))) if is_limited else cpus


def checked_parent() -> Path:
    """Return where Ray's folder is made: in ``RAY_TMPDIR``, or where other temporary folders are.

    Raises:
        StorageError: it is no folder, its path is too long for a socket, or it is full.
    """
    parent = Path(os.environ.get("RAY_TMPDIR") or temporary_folder()).absolute()
    longest = len(os.fsencode(parent / f"{PREFIX}ray-{RANDOM_NAME}" / SESSIONS / max(SOCKETS.values(), key=len)))
    if longest > LONGEST_SOCKET:
        most = len(os.fsencode(parent)) - (longest - LONGEST_SOCKET)
        raise StorageError(
            f"the temporary folder {parent} is too long a path for Ray's sockets: {len(os.fsencode(parent))} bytes, "
            f"at most {most} are possible; set TMPDIR or RAY_TMPDIR to a shorter one"
        )
    try:
        free = shutil.disk_usage(parent).free
    except OSError as error:
        raise StorageError(f"RAY_TMPDIR: {parent} is not a folder that can be used ({error.strerror})") from None
    if free < NEEDED_BYTES:
        raise StorageError(
            f"the temporary folder {parent} has {free / 2**20:.0f} MiB free, and Ray needs {NEEDED_BYTES / 2**20:.0f}; "
            "make room, or set TMPDIR or RAY_TMPDIR to another"
        )
    return parent


def check_loopback() -> None:
    """Raise RayStartError where processes of this machine cannot talk to each other through 127.0.0.1."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=CONNECT_S).close()
    except OSError as error:
        raise RayStartError(
            "Ray cannot be started on this machine: its loopback interface, 127.0.0.1, does not work "
            f"({error.strerror or error})"
        ) from None


def check_address_space() -> None:
    """Raise RayStartError where a limit of this process keeps Ray's parts from getting memory."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < NEEDED_ADDRESSES_BYTES:
        raise RayStartError(
            f"Ray cannot be started on this machine: processes may have {limit / 2**30:.1f} GiB of address space "
            f"(ulimit -v), and a worker needs {NEEDED_ADDRESSES_BYTES / 2**30:.0f}"
        )

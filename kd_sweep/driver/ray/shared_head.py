"""A head on this machine that drivers share: a process of its own, `python -m kd_sweep.driver.ray.shared_head FILE`.

It is the Ray of `kd_sweep.driver.ray.local_ray`: two daemons, on the loopback interface, behind a token. Drivers come
and go; `kd_sweep.service.supervision.local_head` starts and ends it. Whoever needs it holds a lock, which the kernel
takes back when a process dies: a head that nobody has needed for a minute ends by itself.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from kd_sweep.driver.interrupts import Interrupt, SweepInterrupted, unblock_signals, watching_signals
from kd_sweep.driver.ray.liveness import local_watch
from kd_sweep.driver.ray.local_ray import local_ray
from kd_sweep.driver.ray.ray_settings import PATIENT, QUIET, environment, own_token
from kd_sweep.errors import ClusterError, ClusterLostError, KdSweepError
from kd_sweep.storage.process_identity import is_alive, this_process
from kd_sweep.storage.root import Root

HEAD = "KD_SWEEP_HEAD"
"""The variable by which a driver knows such a head: the path of its file."""
POLL_S = 0.5
UNUSED_S = 60.0
"""After so long without a service and a driver it ends."""


@dataclass(frozen=True)
class SharedHead:
    """Where a head is, and which process."""

    address: str
    """HOST:PORT."""
    pid: int
    start: str | None
    """When the process started, in its kernel's units."""

    @property
    def is_alive(self) -> bool:
        """Whether its process lives."""
        return is_alive(self.pid, self.start)


def read_head(file: Path) -> SharedHead | None:
    """Return the head that has written this file, alive or not; None where none has."""
    try:
        return SharedHead(**json.loads(file.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def head_at(address: str | None) -> SharedHead | None:
    """Return the shared head at this address, if this process was told of it.

    Raises:
        ClusterError: it has died.
    """
    head = read_head(Path(os.environ[HEAD])) if HEAD in os.environ else None
    if head is None or head.address != address:
        return None
    if not head.is_alive:
        raise ClusterError(f"--address {address}: the head of this machine has died")
    return head


def settings_of_drivers(file: Path, token: str) -> dict[str, str]:
    """Return the environment of a driver that joins the head of this file, and of the head itself."""
    return PATIENT | own_token(token) | {HEAD: str(file)}


@contextmanager
def using_head(file: Path) -> Iterator[None]:
    """Keep the head of this file while the block runs, and this process lives."""
    with _users(file).open("ab") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        yield


def is_used(file: Path) -> bool:
    """Whether a process that lives is in `using_head`; nobody is whose folder is gone."""
    try:
        with _users(file).open("ab") as users:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _users(file: Path) -> Path:
    return file.with_suffix(".users")


@contextmanager
def joined_head(head: SharedHead) -> Iterator[None]:
    """Be a driver of the head while the block runs. Its workers run the code of this machine, which need not travel."""
    import ray

    from kd_sweep.driver.ray.private import join_local, without_environments

    try:
        join_local(head.address)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ClusterError(f"--address {head.address}: this machine could not join as a driver ({reason})") from error
    try:
        with using_head(Path(os.environ[HEAD])), without_environments():
            yield
    finally:
        ray.shutdown()


def head_watch(head: SharedHead) -> Callable[[], None]:
    """Return a function that raises `ClusterLostError` when the head has died."""

    def check() -> None:
        if not head.is_alive:
            raise ClusterLostError("Ray on this machine has died: the process of its head is gone")

    return check


def main(file: Path) -> int:
    """Be the head until SIGTERM, SIGINT, the death of a daemon of Ray's, or the end of all who need it.

    Returns the exit code.
    """
    unblock_signals()
    try:
        with watching_signals() as interrupt, environment(PATIENT), environment(QUIET):
            _serve(file, interrupt)
    except SweepInterrupted:
        return 0
    except KdSweepError as error:
        print(f"kd-sweep: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def _serve(file: Path, interrupt: Interrupt) -> None:
    with local_ray(interrupt.check_armed, lambda text: print(text, flush=True)):
        import ray

        pid, start = this_process()
        head = SharedHead(ray.get_runtime_context().gcs_address, pid, start)
        Root.open(file.parent).write_bytes(file.name, json.dumps(asdict(head)).encode())
        watch = local_watch()
        used_at = time.monotonic()
        while time.monotonic() - used_at < UNUSED_S:
            interrupt.check_armed()
            watch()
            if is_used(file):
                used_at = time.monotonic()
            time.sleep(POLL_S)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

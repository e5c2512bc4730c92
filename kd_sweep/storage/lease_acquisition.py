"""The acquisition of a lease: a claim of the next term once its holder has been silent for long enough."""

import contextlib
import errno
import fcntl
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from kd_sweep.errors import StorageError
from kd_sweep.storage.lease_holder import Holder, holder_of, latest_holders, tokens_held, write_holder
from kd_sweep.storage.local_files import is_temporary
from kd_sweep.storage.process_identity import this_pid_scope, this_process
from kd_sweep.storage.root import Root
from kd_sweep.storage.terms import claim_name, claims_on, rivals

HEARTBEATS_PER_LEASE = 20
_GUARD_WAIT_S = 1.5


class HeldError(Exception):
    """Somebody holds the lease; ``undecided`` if only more time can tell whether the holder still lives."""

    def __init__(self, holder: Holder, *, undecided: bool = False) -> None:
        self.holder, self.undecided = holder, undecided


class Watch:
    """How long a lease that another host holds has not moved, by this process's own clock."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}
        self._moved: set[str] = set()

    def still_s(self, holder: Holder) -> float:
        """Return the seconds since its counter was last seen to move, 0 at the first reading."""
        now = clock()
        counter, since = self._seen.get(holder.token, (None, now))
        if counter != holder.counter:
            if counter is not None:
                self._moved.add(holder.token)
            self._seen[holder.token] = (holder.counter, now)
            return 0.0
        return now - since

    def has_moved(self, holder: Holder) -> bool:
        """Whether its counter has moved since the first reading."""
        return holder.token in self._moved


def try_to_take(root: Root, name: str, lease_s: float, watch: Watch, after: int) -> Holder:
    """Claim the next term, or raise `HeldError`."""
    with _guard(root, name) as is_guarded:
        known = claims_on(name, root.files())
        for held in latest_holders(root, name):
            _check_free(held, watch)
        scope, (pid, start) = this_pid_scope(), this_process()
        now, token = time.time(), secrets.token_hex(8)
        term = max([after, *(claim.term for claim in known)]) + 1
        ours = Holder(scope.host, pid, start, now, now, 0, token, lease_s, *scope[1:], term=term)
        tokens_held.add(token)
        try:
            _claim(root, name, ours, settle_s=0.0 if is_guarded else min(1.0, lease_s / HEARTBEATS_PER_LEASE))
        except BaseException:
            tokens_held.discard(token)
            raise
    _delete_earlier(root, name, term)
    return ours


def _claim(root: Root, name: str, ours: Holder, *, settle_s: float) -> None:
    """Write our file, and withdraw it with `HeldError` if another process has claimed this term or a later one."""
    try:
        write_holder(root, name, ours)
    except StorageError:
        if rivals(root, name, ours.claim):  # a later holder has deleted what was not finished
            raise HeldError(holder_of(root, name) or ours, undecided=True) from None
        raise
    time.sleep(settle_s)  # for a store whose listings lag behind
    if rivals(root, name, ours.claim):
        root.delete(claim_name(name, ours.claim))
        raise HeldError(holder_of(root, name) or ours, undecided=True)


def _delete_earlier(root: Root, name: str, term: int) -> None:
    """Delete the files of earlier terms, and their holders' temporary files. The next holder tries again what fails."""
    files = root.files()
    earlier = [claim_name(name, claim) for claim in claims_on(name, files) if claim.term < term]
    first = f".{name.partition('.')[0]}-"
    unfinished = [file for file in files if is_temporary(file) and first < file < f"{first}{term:08d}"]
    with contextlib.suppress(StorageError):
        for file in [*earlier, *unfinished]:
            root.delete(file)


def _check_free(held: Holder, watch: Watch) -> None:
    if held.is_here or held.released:
        if held.is_alive:
            raise HeldError(held)
        return
    still_s = watch.still_s(held)
    if still_s > held.lease_s:
        return
    if watch.has_moved(held) or not held.is_expired:
        raise HeldError(held)
    # Its clock says that it is dead. Half a lease without a heartbeat, by our own clock, must say so too: clocks
    # differ, and a network filesystem may show an old file for some seconds.
    if still_s < held.lease_s / 2:
        raise HeldError(held, undecided=True)


@contextlib.contextmanager
def _guard(root: Root, name: str) -> Iterator[bool]:
    """Let one process at a time claim a term, so that none meets a rival. The kernel frees the lock of a dead process.

    Yields False if the filesystem has no locks (object stores, some network mounts), or another process keeps it.
    """
    if not root.is_local:
        yield False
        return
    root.ensure_folder()
    path = root.local_path(f".{name}.guard")
    try:
        guard = path.open("ab")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from None
    with guard:
        yield _locked(guard.fileno(), path)


def _locked(descriptor: int, path: Path) -> bool:
    deadline = time.monotonic() + _GUARD_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:  # whoever holds it may be suspended
                return False
            time.sleep(0.01)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise StorageError(f"{path} cannot be locked: {error.strerror}") from None
            return False


def clock() -> float:
    """Seconds that also pass while the machine is suspended, unaffected by changes of the wall clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()

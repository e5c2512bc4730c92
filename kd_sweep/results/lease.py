"""One driver per study, one trainer per teacher: a file that names its holder and is renewed while the holder lives.

A holder on this host is judged by its process, so a dead one is replaced at once. A holder elsewhere is judged by the
file's age, and, because two hosts' clocks may disagree, by whether its counter still moves.
"""

import contextlib
import dataclasses
import errno
import fcntl
import json
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kd_sweep.errors import KdSweepError, StorageError, StudyLockedError
from kd_sweep.results.local_files import is_temporary
from kd_sweep.results.process import Place, is_alive, this_place, this_process
from kd_sweep.results.storage import Root

DRIVER_LEASE = "driver-lease.json"
"""The driver's lease in a study's folder."""

_HEARTBEATS_PER_LEASE = 20
_GUARD_WAIT_S = 1.5
_POLL_S = 0.25


@dataclasses.dataclass(frozen=True)
class Holder:
    """What a lease file says. Times are seconds since 1970 on the holder's clock."""

    host: str
    pid: int
    process_start: str | None
    acquired_at: float
    renewed_at: float
    counter: int
    """Goes up with every renewal."""
    token: str
    """Names this acquisition: no two are equal."""
    lease_s: float
    boot_id: str | None = None
    pid_namespace: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether the holder's pid can be looked up from this process."""
        return Place(self.host, self.boot_id, self.pid_namespace) == this_place()

    @property
    def age_s(self) -> float:
        """Seconds since the lease was taken."""
        return max(0.0, time.time() - self.acquired_at)

    @property
    def silent_s(self) -> float:
        """Seconds since it was renewed; negative where the holder's clock is ahead of ours."""
        return time.time() - self.renewed_at

    @property
    def is_expired(self) -> bool:
        """Whether the last renewal is further away than the lease is long, into the past or the future."""
        return abs(self.silent_s) > self.lease_s

    @property
    def is_alive(self) -> bool:
        """Whether the holder still counts: its process lives here, or it renewed recently elsewhere."""
        return is_alive(self.pid, self.process_start) if self.is_here else not self.is_expired

    def __str__(self) -> str:
        silent = max(0.0, self.silent_s)
        return f"pid {self.pid} on {self.host} for {_duration(self.age_s)} (renewed {_duration(silent)} ago)"


def holder_of(root: Root, name: str = DRIVER_LEASE) -> Holder | None:
    """Return who holds the lease file ``name``, alive or not; None where nobody does."""
    try:
        content = json.loads(root.read_bytes(name))
        fields = {field.name for field in dataclasses.fields(Holder)}
        return Holder(**{key: value for key, value in content.items() if key in fields})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, AttributeError):
        # Only a power cut can leave half a file: renewals are not synced. Nobody renews it, so it expires.
        return Holder("unknown", 0, None, 0.0, 0.0, 0, "damaged", 0.0)


class Lease:
    """The right to be the only writer of something, held until `release` or the end of the process."""

    def __init__(self, root: Root, name: str, what: str, holder: Holder) -> None:
        self._root, self._name, self._what, self._holder = root, name, what, holder
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._taken_by: Holder | None = None
        self._lost = False
        self._failure: Exception | None = None
        self._renewed_at = _clock()
        self._thread = threading.Thread(target=self._heartbeat, name=f"lease {name}", daemon=True)
        self._thread.start()

    @classmethod
    def acquire(
        cls,
        path: str | Path,
        *,
        root: Root | None = None,
        lease_s: float = 30.0,
        what: str = "the study",
        wait: bool = False,
        timeout_s: float | None = None,
    ) -> "Lease":
        """Take the lease, or say who has it.

        Args:
            path: the lease file; relative to ``root`` where one is given, else local.
            root: where the file lies, for roots that are not local paths.
            lease_s: how long another host waits after this process's last renewal.
            what: what is held, for messages.
            wait: wait until the lease is free instead of refusing.
            timeout_s: with ``wait``, refuse after this long.

        Raises:
            StudyLockedError: somebody else holds it; the message names host, pid and age.
            StorageError: the file cannot be written.
        """
        if root is None:
            local = Path(path).absolute()
            root, path = Root.open(local.parent), local.name
        deadline = (time.monotonic() + timeout_s) if timeout_s is not None else float("inf")
        watch = _Watch()
        while True:
            try:
                holder = _try_to_take(root, str(path), what, lease_s, watch)
                return cls(root, str(path), what, holder)
            except _HeldError as held:
                if not (wait or held.undecided) or time.monotonic() > deadline:
                    raise StudyLockedError(f"{what} is held by {held.holder}; {root.shown(str(path))}") from None
            except StudyLockedError:
                if not wait or time.monotonic() > deadline:
                    raise
            time.sleep(_POLL_S)

    @property
    def holder(self) -> Holder:
        """What the lease file says of this process."""
        return self._holder

    def check(self) -> None:
        """Return if this process holds the lease. Call before writing what the lease protects.

        Reads the file only when the last renewal is old, as after a suspended machine wakes up.

        Raises:
            StudyLockedError: somebody else took it over, because this process was silent for longer than the lease.
            StorageError: it could not be renewed for longer than that, so somebody else may take it at any time.
        """
        if not self._lost and self._silent_s() > self._holder.lease_s / 2:
            self._renew()
        if self._lost:
            raise StudyLockedError(
                f"{self._what} was taken over by {self._taken_by or 'nobody: its lease was deleted'}"
            )
        silent_s = self._silent_s()
        if silent_s > self._holder.lease_s:
            raise StorageError(f"{self._failure} (the lease of {self._what}, not renewed for {_duration(silent_s)})")

    def release(self) -> None:
        """Give the lease up. A lease that somebody else took over meanwhile stays theirs."""
        self._ended.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        with self._lock, contextlib.suppress(KdSweepError, OSError), _guard(self._root, self._name):
            now = holder_of(self._root, self._name)
            if now is not None and now.token == self._holder.token:
                self._root.delete(self._name)

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def _heartbeat(self) -> None:
        while not self._ended.wait(self._holder.lease_s / _HEARTBEATS_PER_LEASE) and not self._lost:
            self._renew()

    def _renew(self) -> None:
        """Move the file's counter on, or find that it is another holder's now. A failure is kept, and may pass."""
        with self._lock:
            try:
                with _guard(self._root, self._name):
                    now = holder_of(self._root, self._name)
                    if now is None or now.token != self._holder.token:
                        self._lost, self._taken_by = True, now
                        return
                    ours = self._holder
                    renewed = dataclasses.replace(ours, renewed_at=time.time(), counter=ours.counter + 1)
                    _write(self._root, self._name, renewed, durable=False)
                    self._holder, self._renewed_at = renewed, _clock()
            except (KdSweepError, OSError) as failure:
                self._failure = failure

    def _silent_s(self) -> float:
        return _clock() - self._renewed_at


def study_lease(study_root: Root, study: str, **options: Any) -> Lease:
    """Take the driver's lease of the study in ``study_root``. Options and errors are those of `Lease.acquire`."""
    return Lease.acquire(DRIVER_LEASE, root=study_root, what=f"study {study!r}", **options)


class _HeldError(Exception):
    def __init__(self, holder: Holder, *, undecided: bool = False) -> None:
        self.holder, self.undecided = holder, undecided


class _Watch:
    """How long a lease that another host holds has not moved, by this process's own clock."""

    def __init__(self) -> None:
        self._seen: tuple[str, int] | None = None
        self._since = 0.0
        self.has_moved = False

    def still_s(self, holder: Holder) -> float:
        now, seen = _clock(), (holder.token, holder.counter)
        if seen != self._seen:
            self.has_moved = self._seen is not None
            self._seen, self._since = seen, now
        return now - self._since


def _try_to_take(root: Root, name: str, what: str, lease_s: float, watch: _Watch) -> Holder:
    """Write our own lease file, or raise `_HeldError`; guarded, so that of two takers one sees the other's file."""
    with _guard(root, name, what) as is_guarded:
        _delete_temporaries(root, name)
        held = holder_of(root, name)
        if held is not None:
            _check_free(held, watch)
        place, (pid, start) = this_place(), this_process()
        now = time.time()
        ours = Holder(place.host, pid, start, now, now, 0, secrets.token_hex(8), lease_s, place[1], place[2])
        _write(root, name, ours)
    if not is_guarded:
        _settle(root, name, ours)
    return ours


def _check_free(held: Holder, watch: _Watch) -> None:
    if held.is_here:
        if held.is_alive:
            raise _HeldError(held)
        return
    still_s = watch.still_s(held)
    if still_s > held.lease_s:
        return
    if watch.has_moved or not held.is_expired:
        raise _HeldError(held)
    # Its clock says that it is dead. Half a lease without a heartbeat, by our own clock, must say so too: clocks
    # differ, and a network filesystem may show an old file for some seconds.
    if still_s < held.lease_s / 2:
        raise _HeldError(held, undecided=True)


def _settle(root: Root, name: str, ours: Holder) -> None:
    """Where there are no locks the last of two writers wins: wait for a second one, then see whose file it is."""
    time.sleep(min(1.0, ours.lease_s / _HEARTBEATS_PER_LEASE))
    now = holder_of(root, name)
    if now is None or now.token != ours.token:
        raise _HeldError(now or ours)


@contextlib.contextmanager
def _guard(root: Root, name: str, what: str = "the lease") -> Iterator[bool]:
    """Let one process at a time read and then change the lease file. The kernel frees the lock of a dead process.

    Yields False where the filesystem has no locks (object stores, some network mounts).
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
        yield _locked(guard.fileno(), path, what)


def _locked(descriptor: int, path: Path, what: str) -> bool:
    deadline = time.monotonic() + _GUARD_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StudyLockedError(f"{what}: another process is taking it just now; {path}") from None
            time.sleep(0.01)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise StorageError(f"{path} cannot be locked: {error.strerror}") from None
            return False


def _write(root: Root, name: str, holder: Holder, *, durable: bool = True) -> None:
    root.write_bytes(name, json.dumps(dataclasses.asdict(holder)).encode(), durable=durable)


def _delete_temporaries(root: Root, name: str) -> None:
    for found in root.files() if root.is_local else ():
        if found.startswith(f".{name}.") and is_temporary(found):
            root.delete(found)


def _clock() -> float:
    """Seconds that also pass while the machine is suspended, unaffected by changes of the wall clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

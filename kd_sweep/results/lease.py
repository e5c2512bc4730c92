"""One driver per study, one trainer per teacher: a file that names its holder and is renewed while the holder lives.

A holder on this host is judged by its process, so a dead one is replaced at once. A holder elsewhere is judged by the
file's age, and, because two hosts' clocks may disagree, by whether its counter still moves.

Every acquisition is a term (`results.terms`) with a file of its own, which nobody else writes: a process that wakes up
after it was replaced cannot renew, release or delete its successor's. The file of the latest term says who holds the
lease. It stays when the lease is released, so that the next term is a later one.
"""

import contextlib
import dataclasses
import errno
import fcntl
import json
import logging
import random
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
from kd_sweep.results.tables import latest_term
from kd_sweep.results.terms import Claim, claim_name, claims_on, rivals

_LOG = logging.getLogger(__name__)
DRIVER_LEASE = "driver-lease.json"
"""The driver's lease in a study's folder. Its files have the term and a token in their names besides."""

_HEARTBEATS_PER_LEASE = 20
_GUARD_WAIT_S = 1.5
_POLL_S = 0.25
_LAST_TIME = 253_402_300_799.0
"""The end of the year 9999: no clock says more."""
_LONGEST_LEASE_S = 86_400.0
_DAMAGED = ""
"""The host where a file does not say who holds the lease."""
_RELEASES = 200
"""So often a release that failed is tried again, with growing pauses: for more than an hour."""
_ours: set[str] = set()
"""Tokens of the leases that this process holds: one of its own that could not be released is free."""


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
    released: bool = False
    """Whether it has given the lease up."""
    term: int = 0
    """Which acquisition this is: every one has a higher number than those before it."""

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
        if self.released:
            return False
        if self.is_here and (self.pid, self.process_start) == this_process():
            return self.token in _ours
        return is_alive(self.pid, self.process_start) if self.is_here else not self.is_expired

    def __str__(self) -> str:
        silent = max(0.0, self.silent_s)
        return f"pid {self.pid} on {self.host} for {_duration(self.age_s)} (renewed {_duration(silent)} ago)"


def is_lease_file(file: str, name: str = DRIVER_LEASE) -> bool:
    """Whether a file in the folder of the lease ``name`` is one of those that the lease consists of."""
    return bool(claims_on(name, [file])) or file.startswith(f".{name.partition('.')[0]}")


def holder_of(root: Root, name: str = DRIVER_LEASE) -> Holder | None:
    """Return who holds the lease ``name``, alive or not; None where nobody does. A damaged file is nobody's."""
    holders = [holder for holder in _latest(root, name) if not holder.released and holder.host != _DAMAGED]
    return max(holders, key=lambda holder: holder.is_alive, default=None)


def damaged_lease(root: Root, name: str = DRIVER_LEASE) -> str | None:
    """Return the file of the latest term where it does not say who holds the lease; None where it does."""
    latest = [holder for holder in _latest(root, name) if holder.host == _DAMAGED]
    return claim_name(name, Claim(latest[0].term, latest[0].token)) if latest else None


def _latest(root: Root, name: str) -> list[Holder]:
    """Return the holders of the latest term: one, or two where a second has not yet found that it came too late."""
    while True:
        claims = claims_on(name, root.files())
        try:
            return [_read(root, name, claim) for claim in claims if claim.term == claims[-1].term]
        except FileNotFoundError:  # a later holder has deleted it
            continue


def _read(root: Root, name: str, claim: Claim) -> Holder:
    try:
        content = json.loads(root.read_bytes(claim_name(name, claim)))
        fields = {field.name for field in dataclasses.fields(Holder)}
        holder = Holder(**{key: value for key, value in content.items() if key in fields})
        _check_types(holder)
        return dataclasses.replace(holder, term=claim.term, token=claim.token)
    except (ValueError, TypeError, AttributeError, RecursionError):
        # Only a power cut can leave half a file: renewals are not synced. Nobody renews it, so it expires.
        return Holder(_DAMAGED, 0, None, 0.0, 0.0, 0, claim.token, 0.0, term=claim.term)


def _check_types(holder: Holder) -> None:
    """Raise `ValueError` where the values are not what a holder writes."""
    times = (holder.acquired_at, holder.renewed_at, holder.lease_s)
    numbers = (holder.pid, holder.counter, *times)
    texts = (holder.process_start, holder.boot_id, holder.pid_namespace)
    is_sound = (
        isinstance(holder.host, str)
        and holder.host != _DAMAGED
        and isinstance(holder.released, bool)
        and all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers)
        and all(isinstance(number, int) and 0 <= number < 2**63 for number in (holder.pid, holder.counter))
        and all(0 <= number <= _LAST_TIME for number in times)  # NaN is neither
        and holder.lease_s <= _LONGEST_LEASE_S
        and all(text is None or isinstance(text, str) for text in texts)
    )
    if not is_sound:
        raise ValueError("not what a holder writes")


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
        after: int = 0,
    ) -> "Lease":
        """Take the lease, or say who has it.

        Args:
            path: the lease file; relative to ``root`` where one is given, else local.
            root: where the file lies, for roots that are not local paths.
            lease_s: how long another host waits after this process's last renewal.
            what: what is held, for messages.
            wait: wait until the lease is free instead of refusing.
            timeout_s: with ``wait``, refuse after this long.
            after: a term that must be earlier than this one, whatever the lease's own files say.

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
                holder = _try_to_take(root, str(path), lease_s, watch, after)
                return cls(root, str(path), what, holder)
            except _HeldError as held:
                if not (wait or held.undecided) or time.monotonic() > deadline:
                    raise StudyLockedError(f"{what} is held by {held.holder}; {root.shown(str(path))}") from None
            time.sleep(_POLL_S * random.uniform(0.5, 1.0))

    @property
    def holder(self) -> Holder:
        """What the lease file says of this process."""
        return self._holder

    @property
    def term(self) -> int:
        """The number of this acquisition, higher than that of any before it: it goes into the names of files."""
        return self._holder.term

    def check(self, *, afresh: bool = False) -> None:
        """Return if this process holds the lease. Call before writing what the lease protects.

        That spares a process that has lost it useless work. What keeps its writes from counting are the terms in their
        names: it may be suspended between this check and its write. Looks at the files only when the last renewal is
        old, as after a suspended machine wakes up, or when ``afresh``.

        Raises:
            StudyLockedError: somebody else took it over, because this process was silent for longer than the lease.
            StorageError: it could not be renewed for longer than that, so somebody else may take it at any time.
        """
        if not self._lost and (afresh or self._silent_s() > self._holder.lease_s / 2):
            self._renew()
        if self._lost:
            successor = self._taken_by or "another process, which has ended, or its lease was deleted"
            raise StudyLockedError(f"{self._what} was taken over by {successor}")
        silent_s = self._silent_s()
        if silent_s > self._holder.lease_s:
            raise StorageError(f"{self._failure} (the lease of {self._what}, not renewed for {_duration(silent_s)})")

    def release(self) -> None:
        """Give the lease up. Where that fails, it is tried again in the background, and is free for this process."""
        self._ended.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        _ours.discard(self._holder.token)
        try:
            self._give_up()
        except (KdSweepError, OSError) as failure:
            _LOG.warning("the lease of %s is given up later: %s", self._what, failure)
            threading.Thread(target=self._give_up_later, name=f"release {self._name}", daemon=True).start()

    def _give_up(self) -> None:
        with self._lock:
            there = claims_on(self._name, self._root.files())
            if there and there[-1].term > self._holder.term:
                self._root.delete(self._file)
            elif self._claim in there:
                self._write(dataclasses.replace(self._holder, released=True), durable=True)

    def _give_up_later(self) -> None:
        for attempt in range(_RELEASES):
            time.sleep(min(30.0, self._holder.lease_s / _HEARTBEATS_PER_LEASE * 2**attempt))
            with contextlib.suppress(KdSweepError, OSError):
                self._give_up()
                return

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def _heartbeat(self) -> None:
        while not self._ended.wait(self._holder.lease_s / _HEARTBEATS_PER_LEASE) and not self._lost:
            self._renew()

    def _renew(self) -> None:
        """Move the file's counter on, or find that a later holder is there. A failure is kept, and may pass."""
        with self._lock:
            try:
                there = claims_on(self._name, self._root.files())
                later = [claim for claim in there if claim.term > self._holder.term]
                if later or not (self._claim in there or self._root.exists(self._file)):
                    self._taken_by = holder_of(self._root, self._name) if later else None
                    self._lost = True
                    return
                ours = self._holder
                renewed = dataclasses.replace(ours, renewed_at=time.time(), counter=ours.counter + 1)
                self._write(renewed, durable=False)
                self._holder, self._renewed_at = renewed, _clock()
            except (KdSweepError, OSError) as failure:
                self._failure = failure

    @property
    def _claim(self) -> Claim:
        return Claim(self._holder.term, self._holder.token)

    @property
    def _file(self) -> str:
        return claim_name(self._name, self._claim)

    def _write(self, holder: Holder, *, durable: bool) -> None:
        _write(self._root, self._name, holder, durable=durable)

    def _silent_s(self) -> float:
        return _clock() - self._renewed_at


def study_lease(study_root: Root, study: str, **options: Any) -> Lease:
    """Take the driver's lease of the study in ``study_root``. Options and errors are those of `Lease.acquire`."""
    after = latest_term(study_root)
    return Lease.acquire(DRIVER_LEASE, root=study_root, what=f"study {study!r}", after=after, **options)


class _HeldError(Exception):
    def __init__(self, holder: Holder, *, undecided: bool = False) -> None:
        self.holder, self.undecided = holder, undecided


class _Watch:
    """How long a lease that another host holds has not moved, by this process's own clock."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, float]] = {}
        self._moved: set[str] = set()

    def still_s(self, holder: Holder) -> float:
        now = _clock()
        counter, since = self._seen.get(holder.token, (None, now))
        if counter != holder.counter:
            if counter is not None:
                self._moved.add(holder.token)
            self._seen[holder.token] = (holder.counter, now)
            return 0.0
        return now - since

    def has_moved(self, holder: Holder) -> bool:
        return holder.token in self._moved


def _try_to_take(root: Root, name: str, lease_s: float, watch: _Watch, after: int) -> Holder:
    """Claim the next term, or raise `_HeldError`."""
    with _guard(root, name) as is_guarded:
        known = claims_on(name, root.files())
        for held in _latest(root, name):
            _check_free(held, watch)
        place, (pid, start) = this_place(), this_process()
        now, token = time.time(), secrets.token_hex(8)
        term = max([after, *(claim.term for claim in known)]) + 1
        ours = Holder(place.host, pid, start, now, now, 0, token, lease_s, place[1], place[2], term=term)
        _ours.add(token)
        try:
            _claim(root, name, ours, settle_s=0.0 if is_guarded else min(1.0, lease_s / _HEARTBEATS_PER_LEASE))
        except BaseException:
            _ours.discard(token)
            raise
    _delete_earlier(root, name, term)
    return ours


def _claim(root: Root, name: str, ours: Holder, *, settle_s: float) -> None:
    """Write our file, and withdraw it with `_HeldError` where another process has claimed this term or a later one."""
    claim = Claim(ours.term, ours.token)
    try:
        _write(root, name, ours)
    except StorageError:
        if rivals(root, name, claim):  # a later holder has deleted what was not finished
            raise _HeldError(holder_of(root, name) or ours, undecided=True) from None
        raise
    time.sleep(settle_s)  # for a store whose listings lag behind
    if rivals(root, name, claim):
        root.delete(claim_name(name, claim))
        raise _HeldError(holder_of(root, name) or ours, undecided=True)


def _delete_earlier(root: Root, name: str, term: int) -> None:
    """Delete the files of earlier terms, and what their holders left unfinished. What fails is the next holder's."""
    files = root.files()
    earlier = [claim_name(name, claim) for claim in claims_on(name, files) if claim.term < term]
    first = f".{name.partition('.')[0]}-"
    unfinished = [file for file in files if is_temporary(file) and first < file < f"{first}{term:08d}"]
    with contextlib.suppress(StorageError):
        for file in [*earlier, *unfinished]:
            root.delete(file)


def _check_free(held: Holder, watch: _Watch) -> None:
    if held.is_here or held.released:
        if held.is_alive:
            raise _HeldError(held)
        return
    still_s = watch.still_s(held)
    if still_s > held.lease_s:
        return
    if watch.has_moved(held) or not held.is_expired:
        raise _HeldError(held)
    # Its clock says that it is dead. Half a lease without a heartbeat, by our own clock, must say so too: clocks
    # differ, and a network filesystem may show an old file for some seconds.
    if still_s < held.lease_s / 2:
        raise _HeldError(held, undecided=True)


@contextlib.contextmanager
def _guard(root: Root, name: str) -> Iterator[bool]:
    """Let one process at a time claim a term, so that none meets a rival. The kernel frees the lock of a dead process.

    Yields False where the filesystem has no locks (object stores, some network mounts), or another keeps it too long.
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


def _write(root: Root, name: str, holder: Holder, *, durable: bool = True) -> None:
    content = json.dumps(dataclasses.asdict(holder)).encode()
    root.write_bytes(claim_name(name, Claim(holder.term, holder.token)), content, durable=durable)


def _clock() -> float:
    """Seconds that also pass while the machine is suspended, unaffected by changes of the wall clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

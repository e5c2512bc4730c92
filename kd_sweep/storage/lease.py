"""Leases: the right to be the only driver of a study or trainer of a teacher, in a file that its holder renews.

A holder on this host is judged by its process, so a dead one is replaced at once. A holder elsewhere is judged by the
file's age, and, because two hosts' clocks may disagree, by whether its counter still moves.

Every acquisition is a term (`storage.terms`) with a file of its own, which nobody else writes: a process that wakes up
after it was replaced cannot renew, release or delete its successor's. The file of the latest term names the
holder. It stays when the lease is released, so that the next term is a later one.
"""

import contextlib
import dataclasses
import logging
import random
import threading
import time
from pathlib import Path

from kd_sweep.errors import KdSweepError, StorageError, StudyLockedError
from kd_sweep.storage.lease_acquisition import HEARTBEATS_PER_LEASE, HeldError, Watch, clock, try_to_take
from kd_sweep.storage.lease_holder import Holder, duration, holder_of, tokens_held, write_holder
from kd_sweep.storage.root import Root
from kd_sweep.storage.terms import claim_name, claims_on

_LOG = logging.getLogger(__name__)
_POLL_S = 0.25
_RELEASES = 200
"""So often a release that failed is tried again, with growing pauses: for more than an hour."""


class Lease:
    """The right to be the only writer of something, held until `release` or the end of the process."""

    def __init__(self, root: Root, name: str, what: str, holder: Holder) -> None:
        self._root, self._name, self._what, self._holder = root, name, what, holder
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._taken_by: Holder | None = None
        self._lost = False
        self._failure: Exception | None = None
        self._renewed_at = clock()
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
        """Take the lease, or raise an error that names its holder.

        Args:
            path: the lease file; relative to ``root`` where one is given, else local.
            root: where the file lies, for roots that are not local paths.
            lease_s: how long another host waits after this process's last renewal.
            what: what the lease is for, in messages ("the study").
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
        watch = Watch()
        while True:
            try:
                holder = try_to_take(root, str(path), lease_s, watch, after)
                return cls(root, str(path), what, holder)
            except HeldError as held:
                if not (wait or held.undecided) or time.monotonic() > deadline:
                    raise StudyLockedError(f"{what} is held by {held.holder}; {root.location_of(str(path))}") from None
            time.sleep(_POLL_S * random.uniform(0.5, 1.0))

    @property
    def holder(self) -> Holder:
        """The content of the lease file: this process."""
        return self._holder

    @property
    def term(self) -> int:
        """The number of this acquisition, higher than that of any before it: it goes into the names of files."""
        return self._holder.term

    def check(self, *, afresh: bool = False) -> None:
        """Return if this process holds the lease. Call before writing what the lease protects.

        That spares a process that has lost it useless work. What keeps its writes from counting are the terms in their
        names: it may be suspended between this check and its write. Reads the files only when the last renewal is
        old, as after a suspended machine wakes up, or with ``afresh``.

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
            raise StorageError(f"{self._failure} (the lease of {self._what}, not renewed for {duration(silent_s)})")

    def release(self) -> None:
        """Give the lease up. If that fails, a thread tries again; this process may take it anew at once."""
        self._ended.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        tokens_held.discard(self._holder.token)
        try:
            self._give_up()
        except (KdSweepError, OSError) as failure:
            # No warning: a process that ends holds nothing, and whoever writes reports what made the release fail.
            _LOG.info("the lease of %s is given up later: %s", self._what, failure)
            threading.Thread(target=self._give_up_later, name=f"release {self._name}", daemon=True).start()

    def _give_up(self) -> None:
        with self._lock:
            there = claims_on(self._name, self._root.files())
            if there and there[-1].term > self._holder.term:
                self._root.delete(self._file)
            elif self._holder.claim in there:
                write_holder(self._root, self._name, dataclasses.replace(self._holder, released=True))

    def _give_up_later(self) -> None:
        for attempt in range(_RELEASES):
            time.sleep(min(30.0, self._holder.lease_s / HEARTBEATS_PER_LEASE * 2**attempt))
            with contextlib.suppress(KdSweepError, OSError):
                self._give_up()
                return

    def __enter__(self) -> "Lease":
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()

    def _heartbeat(self) -> None:
        while not self._ended.wait(self._holder.lease_s / HEARTBEATS_PER_LEASE) and not self._lost:
            self._renew()

    def _renew(self) -> None:
        """Move the file's counter on, or notice a later holder. A failure is remembered, and may pass."""
        with self._lock:
            try:
                there = claims_on(self._name, self._root.files())
                later = [claim for claim in there if claim.term > self._holder.term]
                if later or not (self._holder.claim in there or self._root.exists(self._file)):
                    self._taken_by = holder_of(self._root, self._name) if later else None
                    self._lost = True
                    return
                ours = self._holder
                renewed = dataclasses.replace(ours, renewed_at=time.time(), counter=ours.counter + 1)
                write_holder(self._root, self._name, renewed, durable=False)
                self._holder, self._renewed_at = renewed, clock()
            except (KdSweepError, OSError) as failure:
                self._failure = failure

    @property
    def _file(self) -> str:
        return claim_name(self._name, self._holder.claim)

    def _silent_s(self) -> float:
        return clock() - self._renewed_at

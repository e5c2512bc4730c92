"""Changes of rows in SQLite: one after another, and those that wait for each other are committed together."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

LONGEST_S = 0.1
"""So long a transaction takes further changes at most."""
_LOST_S = 1.0
"""After so long a change looks whether the one that was to commit it has been interrupted."""


class GroupedChanges:
    """The changes of a process. A commit waits for the disk, for 10 ms and more: one of several changes costs no more.

    Each change sees those before it, and is durable when its block has been left. One that fails takes nothing of the
    others with it.

    Args:
        engine: of the database; its transactions are for changing.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn, self._counting = threading.Lock(), threading.Lock()
        self._num_waiting = 0
        self._open: _Group | None = None

    @contextmanager
    def change(self) -> Iterator[Session]:
        """Yield a session in which no other change happens; what it has changed is on the disk at the end."""
        group = self._enter()
        try:
            with _session(group) as session, session.begin():
                yield session
        except DBAPIError:
            group.is_closed = True  # SQLite may have rolled back more than this change: then the commit fails
            raise
        finally:
            self._leave(group)
        while not group.ended.wait(_LOST_S):
            if self._turn.acquire(blocking=False):
                self._leave(group)
        if group.failure is not None:
            raise group.failure

    def _enter(self) -> "_Group":
        """Wait for the turn; return the transaction that is open, or a new one."""
        self._count(1)
        try:
            self._turn.acquire()
        finally:
            self._count(-1)
        try:
            if self._open is None:
                self._open = _Group(self._engine)
        except BaseException:
            self._turn.release()
            raise
        return self._open

    def _leave(self, group: "_Group") -> None:
        """Commit, if nobody waits who would go on with the transaction; end the turn."""
        try:
            is_due = group.is_closed or self._num_waiting == 0 or time.monotonic() - group.begun > LONGEST_S
            if self._open is group and is_due:
                self._open = None
                group.commit()
        finally:
            self._turn.release()

    def _count(self, change: int) -> None:
        with self._counting:
            self._num_waiting += change


class _Group:
    """A transaction of one or several changes."""

    def __init__(self, engine: Engine) -> None:
        self.connection = engine.connect()
        try:
            self.connection.begin()
        except BaseException:
            self.connection.close()
            raise
        self.begun = time.monotonic()
        self.is_closed = False
        """Whether it takes no further changes."""
        self.ended = threading.Event()
        self.failure: Exception | None = None

    def commit(self) -> None:
        """Commit; where that fails, every change of the transaction has failed."""
        try:
            self.connection.commit()
        except Exception as failure:
            self.failure = failure
            self.connection.invalidate()  # whatever it still holds
        finally:
            self.connection.close()
            self.ended.set()


def _session(group: _Group) -> Session:
    return Session(group.connection, join_transaction_mode="create_savepoint", expire_on_commit=False)

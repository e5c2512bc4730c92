"""The service without HTTP: its rows, the lease of its root, and the supervisor of its studies."""

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy.orm import Session

from kd_sweep.errors import KdSweepError, StudyLockedError
from kd_sweep.service.root_identity import claim_for, identity_of
from kd_sweep.service.rows.database import Database
from kd_sweep.service.service_errors import ReadOnlyError
from kd_sweep.service.service_settings import ServiceSettings
from kd_sweep.service.supervision.supervisor import Supervisor
from kd_sweep.service.webhooks.sender import Sender
from kd_sweep.storage.lease import Lease
from kd_sweep.storage.root import Root

FOLDER = "service"
"""Of the root: holds the lease."""
LEASE = "service-lease.json"
RETRY_S = 2.0
"""How often a service that may only read tries to become the one that runs the studies."""
_LOG = logging.getLogger(__name__)


class ServiceCore:
    """One service of a root. Of several, one runs the studies, and the others answer questions until it has ended.

    Args:
        settings: as `kd_sweep.service.service_settings.service_settings` returns them.

    Raises:
        DatabaseError: the rows cannot be opened. One line.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.database = Database(settings.database)
        self.read_only: str | None = "the service has not started yet"
        """Why nothing can be changed; None where it can."""
        self.gone: str | None = None
        """Why the root is not there any more, on one line; None where it is."""
        self._identity: str | None = None
        """The id of the root, once it has one."""
        self._lease: Lease | None = None
        self._supervisor: Supervisor | None = None
        self._sender: Sender | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take the lease of the root and run studies; where another service has it, answer questions and try again.

        Raises:
            StorageError: the root cannot be written. One line.
            ServiceError: the rows or files are those of another root. One line.
        """
        identity = identity_of(self._folder(), self.settings.root)
        if not identity.is_new:
            claim_for(identity, self.settings.state, self.database)
            self._identity = identity.id
        if self.settings.read_only:
            self.read_only = "this service was started with --read-only"
            return
        self._lead()
        self._thread = threading.Thread(target=self._keep_leading, name="keep the lease", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and leave the drivers running."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._end_leading()
        self.database.close()

    def reading(self) -> AbstractContextManager[Session]:
        """Return a session that sees the rows as they are now."""
        return self.database.reading()

    def stamp(self) -> object:
        """Return what is another one than before if somebody has changed rows since then."""
        return self.database.stamp()

    @contextmanager
    def changing(self) -> Iterator[Session]:
        """Yield a session for a change, and commit it when the block ends well.

        Raises:
            ReadOnlyError: this service may only read.
        """
        why, lease = self.read_only, self._lease
        if why is None and lease is not None:
            try:
                lease.check()
            except KdSweepError as error:
                why = str(error)
        if why is not None:
            raise ReadOnlyError(f"nothing can be changed here: {why}")
        with self.database.changing() as session:
            yield session

    def signing_in(self) -> AbstractContextManager[Session]:
        """Return a session for a change of browsers' sessions, which are kept also where nothing else is changed."""
        return self.database.changing()

    def why_idle(self) -> str | None:
        """Return why the queue is not worked off, on one line; None where it is."""
        if (reason := self.gone or self.read_only) is not None:
            return reason
        return None if self._supervisor is None else self._supervisor.problem

    def _folder(self) -> Root:
        return Root.open(self.settings.root).child(FOLDER)

    def _lead(self) -> None:
        """Become the one that runs the studies, if no other service is."""
        folder = self._folder()
        folder.ensure_folder()
        try:
            self._lease = Lease.acquire(LEASE, root=folder, what="this results root")
        except StudyLockedError as error:
            self.read_only = f"another service runs the studies: {error}"
            return
        try:
            identity = identity_of(folder, self.settings.root)
            claim_for(identity, self.settings.state, self.database)
            identity.keep(folder)
            supervisor = Supervisor(self.settings, self.database, self._lease)
            supervisor.start()
        except (KdSweepError, OSError):
            self._lease.release()
            self._lease = None
            raise
        self._identity, self._supervisor = identity.id, supervisor
        self._sender = Sender(self.database, self.settings.policy)
        self._sender.start()
        self.read_only = None

    def _keep_leading(self) -> None:
        """Run the studies whenever no other service does, and the root is there."""
        before: str | None = None
        while not self._ended.wait(RETRY_S):
            try:
                self._look_at_lease()
                said = self.gone
            except (KdSweepError, OSError) as error:
                said = str(error)
            if said is not None and said != before:
                _LOG.warning("%s", said)
            before = said

    def _look_at_lease(self) -> None:
        if self._lease is None:
            self.gone = self._why_gone()
            if self.gone is None:
                self._lead()
            else:
                self.read_only = self.gone
            return
        try:
            self._lease.check()
        except StudyLockedError as error:  # for good
            self.gone = self._why_gone()
            self.read_only = self.gone or str(error)
            self._end_leading()

    def _why_gone(self) -> str | None:
        """Return why this is not the root that it was; None where it is.

        It makes no root anew: an empty folder may be a disk that is not mounted.
        """
        if self._identity is None:
            return None
        root = self.settings.root
        found = identity_of(self._folder(), root)
        if found.is_new:
            return f"the results root {root} was removed; put it back, or start the service again for a new one"
        return (
            None
            if found.id == self._identity
            else f"the results root {root} is another one now; start the service again for that"
        )

    def _end_leading(self) -> None:
        if self._supervisor is not None:
            self._supervisor.stop()
        if self._sender is not None:
            self._sender.stop()
        if self._lease is not None:
            self._lease.release()
        self._supervisor = self._sender = self._lease = None

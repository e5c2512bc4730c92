"""The settings of a service: its root, where its own files are, and what it allows."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL

from kd_sweep.errors import StorageError
from kd_sweep.service.access.proxy_sign_in import ProxySignIn
from kd_sweep.service.queue.policy import Policy
from kd_sweep.storage.root import Root

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8400


@dataclass(frozen=True)
class ServiceSettings:
    """What `kd-sweep serve` was told."""

    root: str
    """The results root: an absolute path or a URI."""
    state: Path
    """The folder of the service's own files, on a local disk."""
    database: str | URL
    """The URL of its rows."""
    address: str | None = None
    """A Ray cluster, HOST:PORT, to which this machine belongs; the service starts a Ray of its own when None."""
    max_studies: int = 1
    """How many studies run at once."""
    policy: Policy = field(default_factory=Policy)
    sign_in: ProxySignIn | None = None
    """The proxy that signs people in, if there is one."""
    read_only: bool = False
    """Answer, and run and change nothing."""
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT

    @property
    def runs(self) -> Path:
        """The folder with a folder for each driver: what it was given, its log, and how it ended."""
        return self.state / "runs"


def service_settings(
    root: str, *, state: Path | None = None, database: str | None = None, **others: Any
) -> ServiceSettings:
    """Return the settings with every default, and make the folder of the service's own files.

    Args:
        root: the results root as the user names it.
        state: that folder; one for this root below ``XDG_STATE_HOME`` when None.
        database: the URL of the rows; a file of SQLite in that folder when None.
        others: the other fields of `ServiceSettings`.

    Raises:
        StorageError: a folder cannot be made or used.
    """
    location = Root.named(root).location
    folder = (state_folder(location) if state is None else state).absolute()
    settings = ServiceSettings(location, folder, database_url(root, state, database), **others)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        settings.runs.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"--state {folder}: cannot be made or used: {error.strerror}") from None
    return settings


def database_url(root: str, state: Path | None, database: str | None) -> str | URL:
    """Return the URL of the rows of a service: ``database``, or a file in the folder of its own files."""
    folder = (state_folder(Root.named(root).location) if state is None else state).absolute()
    return database or URL.create("sqlite", database=str(folder / "service.sqlite"))


def state_folder(location: str) -> Path:
    """Return the folder for the service's own files of the root at this location."""
    base = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return base / "kd_sweep" / hashlib.sha256(location.encode()).hexdigest()[:16]

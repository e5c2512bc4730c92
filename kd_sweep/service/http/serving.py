"""What the routes work with: the root, the rows, what this server allows, and its limits."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fastapi import Request
from sqlalchemy.orm import Session

from kd_sweep.service.access.bad_tokens import BadTokens
from kd_sweep.service.access.proxy_sign_in import ProxySignIn
from kd_sweep.service.access.tokens import NotedUses
from kd_sweep.service.http.guards import GuardSettings
from kd_sweep.service.http.reading import Reading
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.service_errors import ReadOnlyError


class Rows(Protocol):
    """The service's rows: `Database` itself, or a service that refuses changes which are not its own to make."""

    def reading(self) -> AbstractContextManager[Session]: ...  # noqa: D102
    def changing(self) -> AbstractContextManager[Session]: ...  # noqa: D102
    def signing_in(self) -> AbstractContextManager[Session]: ...  # noqa: D102
    def stamp(self) -> object: ...  # noqa: D102


def _never() -> str | None:
    return None


@dataclass(frozen=True)
class Serving:
    """One service, as its routes see it."""

    reading: Reading
    """Of the results root."""
    rows: Rows
    state: Path
    """The folder with logs and images that were drawn."""
    policy: Policy = field(default_factory=Policy)
    read_only: Callable[[], str | None] = _never
    """Returns why nothing can be changed, on one line; None where it can."""
    is_working: Callable[[], str | None] = _never
    """Returns why the queue is not worked off, on one line; None where it is."""
    why_gone: Callable[[], str | None] = _never
    """Returns why the results root is not there any more, on one line; None where it is."""
    guards: GuardSettings = field(default_factory=GuardSettings)
    bad_tokens: BadTokens = field(default_factory=BadTokens)
    noted_uses: NotedUses = field(default_factory=NotedUses)
    sign_in: ProxySignIn | None = None
    """The proxy that signs people in, if there is one."""
    address: str | None = None
    """Of the Ray cluster that studies run on; the service's own Ray on this machine when None."""
    max_studies: int = 1
    """How many studies run at once."""
    max_streams: int = 256
    """Streams of events at once, of all users together."""

    def check_writable(self) -> None:
        """Raise `ReadOnlyError` where nothing can be changed."""
        if (reason := self.read_only()) is not None:
            raise ReadOnlyError(reason)


def serving_of(request: Request) -> Serving:
    """Return what the service works with that answers this request."""
    serving = request.app.state.serving
    assert isinstance(serving, Serving)
    return serving

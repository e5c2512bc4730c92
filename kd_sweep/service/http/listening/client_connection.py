"""A connection of the server that waits for its client only so long, and makes room where there are too many."""

import asyncio
import resource

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 1000
"""At once. A further one takes the place of the one that has been silent for longest; else it is answered with 503."""
HEAD_S = 15.0
"""So long the head of a request may take, or a connection be open without one."""
STALL_S = 60.0
"""After so long in which a client has taken nothing of its answer the connection is cut."""
CHECK_S = 5.0


def most_connections() -> int:
    """Return how many connections there may be at once: half of the files that this process may open, at most."""
    return max(10, min(MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))


class Connection(H11Protocol):
    """One connection. uvicorn itself waits for ever: for the head of a request, and for a client that reads nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, and make room for it."""
        super().connection_made(transport)
        self._asked_since = self._moved_at = self.loop.time()
        self._unsent = 0
        self._check = self.loop.call_later(CHECK_S, self._look)
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._check.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._asked_since = self.loop.time()
        super().on_response_complete()

    def resume_writing(self) -> None:
        """Go on with an answer of which the client has taken some."""
        self._moved_at = self.loop.time()
        super().resume_writing()

    def _make_room(self) -> None:
        """Cut the connection whose client has let the service wait for a whole request for longest."""
        others = [one for one in self.connections if isinstance(one, Connection) and one is not self]
        asked = [one for one in others if not one.transport.is_closing() and (one._has_no_head or one.cycle.more_body)]
        if asked:
            min(asked, key=lambda one: one._asked_since).transport.abort()

    @property
    def _has_no_head(self) -> bool:
        """Whether the client has still to send the head of its next request."""
        return self.cycle is None or self.cycle.response_complete

    def _look(self) -> None:
        """Cut the connection if its client lets the service wait for too long. Called again and again."""
        now, unsent = self.loop.time(), self.transport.get_write_buffer_size()
        if unsent == 0 or unsent < self._unsent:
            self._moved_at = now
        self._unsent = unsent
        patience_s = HEAD_S + (0 if self.cycle is None else self.timeout_keep_alive)
        if (self._has_no_head and now - self._asked_since > patience_s) or now - self._moved_at > STALL_S:
            self.transport.abort()
        else:
            self._check = self.loop.call_later(CHECK_S, self._look)

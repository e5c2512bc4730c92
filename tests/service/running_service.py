"""A service that listens on a free port of this machine, in a thread of the test; and its real clients."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from kd_sweep.service.access.roles import Role
from kd_sweep.service.access.tokens import create_token
from kd_sweep.service.http.app import create_app
from kd_sweep.service.http.reading import Reading
from kd_sweep.service.http.server import leave_what_stays
from kd_sweep.service.http.serving import Serving
from kd_sweep.service.http.watching.feed import Feed
from kd_sweep.service.rows.database import Database

PATIENCE_S = 30.0
TLS = httpx.create_ssl_context()
"""Of all clients, though none needs it: each would read the system's certificates anew, for 20 ms."""


@dataclass
class RunningService:
    """A service, and a token of each role."""

    serving: Serving
    feed: Feed
    url: str
    tokens: dict[Role, str] = field(default_factory=dict)

    def client(self, role: Role | None = Role.ADMIN, **options: Any) -> httpx.Client:
        """Return a client with a token of this role; without one where it is None."""
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        headers |= options.pop("headers", {})
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, verify=TLS, **options)

    @property
    def host(self) -> str:
        """Host and port, as the header `Host` has them."""
        return self.url.removeprefix("http://")


@contextmanager
def running(root: Path, state: Path, **settings: Any) -> Iterator[RunningService]:
    """Yield a service on a root, with its rows in a new database in the folder ``state``."""
    database = Database(f"sqlite:///{state}/service.db")
    serving = Serving(Reading(str(root)), database, state, **settings)
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:  # as asyncio asks, to send small answers at once
        listening.bind(("127.0.0.1", 0))
        app = create_app(serving)
        settings = {"lifespan": "off", "timeout_graceful_shutdown": 3, "proxy_headers": False}
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, **settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        end = time.monotonic() + PATIENCE_S
        while not server.started:
            assert time.monotonic() < end, "the service does not start"
            time.sleep(0.01)
        service = RunningService(serving, app.state.feed, f"http://127.0.0.1:{listening.getsockname()[1]}")
        with database.changing() as session:
            for role in Role:
                service.tokens[role] = create_token(session, f"the {role}", role, time.time(), None)[1]
        leave_what_stays()  # as the command does: garbage is collected behind large answers
        yield service
        server.should_exit = True
        thread.join(PATIENCE_S)
        app.state.statements.end()
    database.close()

"""The server: listens, answers until it is told to stop, and logs JSON lines."""

import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from importlib import import_module

import uvicorn
from fastapi import FastAPI

from kd_sweep.service.http.app import create_app
from kd_sweep.service.http.child_process import CHILDREN
from kd_sweep.service.http.guards import GuardSettings
from kd_sweep.service.http.listening.client_connection import Connection, most_connections
from kd_sweep.service.http.listening.log_writer import LogWriter
from kd_sweep.service.http.reading import Reading
from kd_sweep.service.http.request_log import JsonLines
from kd_sweep.service.http.routes.page_routes import page_files
from kd_sweep.service.http.serving import Serving
from kd_sweep.service.service_core import ServiceCore
from kd_sweep.service.service_errors import ServiceError
from kd_sweep.tables.queries.sql import run

_KEEP_ALIVE_S = 30
_LAST_ANSWERS_S = 3
"""So long answers that have begun may take when the server ends; streams of events end then."""
_MOST_HEADER_BYTES = 1 << 15


def serving_of_core(core: ServiceCore, names: Iterable[str]) -> Serving:
    """Return what the routes of a service work with.

    Args:
        core: the service without HTTP.
        names: by which it is called, beside those of this machine.
    """
    settings = core.settings
    hosts = {*names, settings.host, socket.gethostname(), socket.getfqdn()}
    return Serving(
        reading=Reading(settings.root),
        rows=core,
        state=settings.state,
        policy=settings.policy,
        read_only=lambda: core.read_only,
        is_working=core.why_idle,
        why_gone=lambda: core.gone,
        guards=GuardSettings(frozenset(name.lower() for name in hosts)),
        address=settings.address,
        max_studies=settings.max_studies,
        sign_in=settings.sign_in,
    )


def run_server(serving: Serving, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer requests until SIGINT or SIGTERM.

    Args:
        serving: what the routes work with.
        host: the address to listen on.
        port: 0 takes a free one.
        ready: is called with the service's URL as soon as it answers.

    Raises:
        ServiceError: it cannot listen there. One line.
    """
    log = _log_json_lines()
    app = create_app(serving)
    _make_ready(serving)
    leave_what_stays()
    CHILDREN.begin()
    server = _Server(_config(app, host, port), ready)
    # uvicorn raises the signal that ended it once more: whoever called this has still to end what is his.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run()
    except SystemExit:
        server.was_ready = False
    finally:
        app.state.feed.end()
        app.state.statements.end()
        app.state.standing.end()
        for number, handler in before.items():
            signal.signal(number, handler)
    if not server.was_ready:
        log.flush()  # the one line comes last
        raise ServiceError(f"--host {host}, --port {port}: nobody can listen there; is another service running?")


def _config(app: FastAPI, host: str, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Connection,
        proxy_headers=False,  # anybody on this machine could send them
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
        limit_concurrency=most_connections(),
        h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
    )


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[str], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self.was_ready = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            self.was_ready = True
            self._ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Give the last answers; what takes longer, such as an analysis, is ended."""
        try:
            await super().shutdown(sockets)
        finally:
            CHILDREN.end()


def _make_ready(serving: Serving) -> None:
    """Make what the first visitor would wait for: the page's script, an instance of DuckDB, and SciPy's intervals."""
    page_files()
    import_module("kd_sweep.statistics.intervals")
    run("SELECT 1", {}, limits=serving.reading.limits)


def leave_what_stays() -> None:
    """Keep the collector of garbage from looking at what is loaded: for 0.3 s at a time nobody would be answered."""
    gc.collect()
    gc.freeze()


def _log_json_lines() -> LogWriter:
    """Let the service, and what it is made of, log JSON lines to standard error; return what writes them."""
    handler = LogWriter(sys.stderr.fileno())
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    return handler

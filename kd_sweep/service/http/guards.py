"""The guards before all routes: who may be named as host, where changes may come from, how large a body may be."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kd_sweep.service.http.answers.problems import problem_of
from kd_sweep.service.http.answers.refusals import RefusedRequestError, too_many

READING = frozenset({"GET", "HEAD"})
PROBES = frozenset({"/healthz", "/readyz"})
"""Paths that any host may name: an orchestrator asks by the address of the container, and they tell nothing."""
BODY_TYPES = frozenset({"application/json", "application/yaml", "application/x-yaml", "text/yaml"})
"""What a body may be. None of them is sent by a form of another site: browsers ask first, and nobody answers."""
_SAME_ORIGIN = frozenset({"same-origin", "none"})
_BODY_S = 30.0
"""So long a client may take to send a body."""
_MOST_BODY_BYTES = 32 * 1024**2
"""Of all bodies together, from everybody, before anybody has looked at them."""
_SMALL_BYTES = 64 * 1024
"""A body up to this is taken all the same: connections are few."""
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True)
class GuardSettings:
    """What the guards let through."""

    hosts: frozenset[str] = frozenset()
    """Names, without a port, by which the service is known beside this machine's own."""
    max_body_bytes: int = 8 * 1024**2


class Guards:
    """Refuses requests that a foreign page, a rebound name or too large a body has made, before any route is asked."""

    def __init__(self, app: ASGIApp, settings: GuardSettings) -> None:
        self._app, self._settings = app, settings
        self._num_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            headers = Headers(scope=scope)
            if scope["path"] not in PROBES:
                check_host(headers.get("host", ""), self._settings.hosts)
            body = b""
            if scope["method"] not in READING:
                check_origin(headers)
                body = await self._body(headers, receive)
        except RefusedRequestError as refusal:
            await problem_of(refusal, scope["state"]["request_id"])(scope, receive, guarded)
            return
        try:
            if scope["method"] not in READING:
                receive = _Replayed(body, receive).receive
            await self._app(scope, receive, guarded)
        finally:
            self._num_bytes -= len(body)

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """Return the whole body, and count it; refuse one that is too long, or of another kind, or comes too slowly."""
        limit, body = self._settings.max_body_bytes, bytearray()
        too_long = RefusedRequestError(413, f"body: is larger than {limit} bytes, the most that this service takes")
        given = headers.get("content-length", "0")
        if not given.isdigit() or len(given) > len(str(limit)) or int(given) > limit:
            raise too_long
        try:
            async with asyncio.timeout(_BODY_S):
                async for part in _parts(receive):
                    body += part
                    self._num_bytes += len(part)
                    if len(body) > limit:
                        raise too_long
                    if self._num_bytes > _MOST_BODY_BYTES and len(body) > _SMALL_BYTES:
                        raise too_many("body: this service is being sent as much as it takes at once", 5)
            check_type(headers, body)
        except BaseException as error:
            self._num_bytes -= len(body)
            if isinstance(error, TimeoutError):
                raise RefusedRequestError(408, f"body: did not come within {_BODY_S:g} s") from None
            raise
        return bytes(body)


def check_host(host: str, known: Collection[str]) -> None:
    """Refuse a name that somebody's DNS has led here: the page behind it is not ours.

    Args:
        host: as the header has it.
        known: names beside those of this machine, without port.
    """
    name = _name(host)
    if name == "localhost" or name in known or _is_loopback(name):
        return
    raise RefusedRequestError(
        421,
        f"Host: {host[:80]!r} is not a name of this service; possible: localhost, 127.0.0.1, or a name given by --host",
    )


def check_origin(headers: Headers) -> None:
    """Refuse a change that the page of another site asks for.

    Programs send neither header; browsers send `Origin` with every change.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise RefusedRequestError(
            403, f"Origin: {origin[:80]!r} is another site; changes come from the service's own pages"
        )
    if site is not None and site not in _SAME_ORIGIN:
        raise RefusedRequestError(
            403, f"Sec-Fetch-Site: {site[:80]!r} is another site; changes come from the service's own pages"
        )


def check_type(headers: Headers, body: bytes | bytearray) -> None:
    """Refuse a body that a form can send."""
    given = headers.get("content-type", "").partition(";")[0].strip().lower()
    if (body or given) and given not in BODY_TYPES:
        raise RefusedRequestError(
            415, f"Content-Type: {given[:80]!r} is not taken; possible: {', '.join(sorted(BODY_TYPES))}"
        )


async def _parts(receive: Receive) -> AsyncIterator[bytes]:
    """Yield the parts of a body; refuse one whose client has gone before its end: half of it may mean something."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedRequestError(400, "body: ended before its end")
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return


class _Replayed:
    """Hands a body that was read on to the application, and then what comes after it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def receive(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _name(host: str) -> str:
    """Return the host without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False

"""Who may ask for a route: each declares the role that it needs, and none goes without."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.routing import APIRoute

from kd_sweep.errors import KdSweepError
from kd_sweep.service.access.browser_sessions import COOKIE, CSRF_HEADER, session_identity, shows_csrf
from kd_sweep.service.access.roles import Identity, Role
from kd_sweep.service.access.tokens import identified, note_use, use_is_stale
from kd_sweep.service.http.answers.refusals import RefusedRequestError, too_many, unauthenticated
from kd_sweep.service.http.guards import READING
from kd_sweep.service.http.proxied import client_address, named_by_proxy
from kd_sweep.service.http.serving import Serving, serving_of
from kd_sweep.service.service_errors import ServiceError

_PROXY_S = 600.0
"""So long a stream goes on for somebody whom the proxy has named."""


@dataclass(frozen=True)
class Needs:
    """A dependency: returns who makes the request, if they have the role; public where that is None."""

    role: Role | None

    def __call__(self, request: Request) -> Identity:
        """Return who makes the request; refuse whoever has not got the role."""
        assert self.role is not None
        serving = serving_of(request)
        who = _identity(request, serving)
        request.state.who, request.state.identified_at = who.name, time.monotonic()
        if request.method not in READING and not shows_csrf(who, request.headers.get(CSRF_HEADER, "")):
            raise RefusedRequestError(
                403, f"{CSRF_HEADER}: is not that of this session; the page reads it from its session"
            )
        if not who.role.includes(self.role):
            raise RefusedRequestError(403, f"role: {who.name!r} has the role {who.role}, and this needs {self.role}")
        return who


class _NeedsNobody(Needs):
    """Asks for nothing, and so needs no thread."""

    async def __call__(self, request: Request) -> None:  # type: ignore[override]
        return None


Viewer = Annotated[Identity, Depends(Needs(Role.VIEWER))]
Operator = Annotated[Identity, Depends(Needs(Role.OPERATOR))]
Admin = Annotated[Identity, Depends(Needs(Role.ADMIN))]
"""Who makes the request, as an argument of a route."""
ForViewers = Depends(Needs(Role.VIEWER))
ForAdmins = Depends(Needs(Role.ADMIN))
"""For routes that need not know who it is."""
Public = Depends(_NeedsNobody(None))
"""Of routes that anybody may ask for."""


def role_of(route: APIRoute) -> Role | None:
    """Return the role that a route needs; None where it is public.

    Raises:
        ValueError: it declares none.
    """
    declared = [one.call.role for one in route.dependant.dependencies if isinstance(one.call, Needs)]
    if len(declared) != 1:
        raise ValueError(f"{route.path}: declares {len(declared)} roles, where one is needed")
    return declared[0]


def routes_of(app: FastAPI) -> Iterator[APIRoute]:
    """Yield the routes of an application."""
    yield from (route for route in app.routes if isinstance(route, APIRoute))


def still_valid(request: Request) -> bool:
    """Whether whoever has made a request may still make it: their token may have been revoked meanwhile.

    What the proxy has said holds for some minutes: then it is to be asked again, by a new request.
    """
    try:
        who = _identity(request, serving_of(request))
    except KdSweepError:
        return False
    return not who.by_proxy or time.monotonic() - request.state.identified_at < _PROXY_S


def _identity(request: Request, serving: Serving) -> Identity:
    return named_by_proxy(request, serving) or _of_token(request, serving)


def _of_token(request: Request, serving: Serving) -> Identity:
    header, now = request.headers.get("authorization"), time.time()
    with serving.rows.reading() as session:
        if header is not None:
            kind, _, secret = header.partition(" ")
            who = identified(session, secret.strip(), now) if kind.lower() == "bearer" else None
        elif (cookie := request.cookies.get(COOKIE)) is not None:
            who = session_identity(session, cookie, now)
        else:
            raise unauthenticated("token: is missing; send it as `Authorization: Bearer …`, or sign in on the page")
        token_id = None if who is None else who.token_id
        is_stale = token_id is not None and use_is_stale(session, token_id, now)
    if who is None:
        raise refused_token(request, serving)
    if token_id is not None and is_stale and serving.read_only() is None and serving.noted_uses.take(token_id, now):
        with contextlib.suppress(ServiceError), serving.rows.changing() as session:  # nobody is refused for it
            note_use(session, token_id, now)
    return who


def refused_token(request: Request, serving: Serving) -> RefusedRequestError:
    """Return the refusal of a wrong token, which is counted."""
    address = client_address(request, serving)
    if pause_s := serving.bad_tokens.count(address):
        return too_many(f"token: too many wrong ones from {address}; try again in {pause_s} s", pause_s)
    return unauthenticated("token: is not known, expired or revoked; an admin makes one: kd-sweep token create")

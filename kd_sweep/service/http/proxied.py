"""Requests that come by the trusted proxy: whom it names, and from where it says they come."""

import ipaddress

from fastapi import Request

from kd_sweep.service.access.proxy_sign_in import (
    SECRET_HEADER,
    ProxyNameError,
    ProxySignIn,
    groups_in,
    the_one,
    user_in,
)
from kd_sweep.service.access.roles import Identity
from kd_sweep.service.http.answers.refusals import RefusedRequestError, too_many
from kd_sweep.service.http.serving import Serving

_FORWARDED_FOR = "X-Forwarded-For"
"""Where a proxy says from whom it has a request: behind what it was sent itself, which anybody may have made up."""


def named_by_proxy(request: Request, serving: Serving) -> Identity | None:
    """Return whom the proxy names; None where a request has no name of its, and shows a token or cookie of our own.

    Raises:
        RefusedRequestError: a name comes without the proxy's secret or can be read in two ways, or has no role.
    """
    sign_in = serving.sign_in
    if sign_in is None:
        return None
    names = [name for name in (sign_in.user_header, sign_in.groups_header) if name]
    if SECRET_HEADER not in request.headers and not any(name in request.headers for name in names):
        return None
    try:
        _check_secret(request, serving, sign_in, names)
        user, *groups = (the_one(name, request.headers.getlist(name)) for name in names)
        if not user and not any(groups):
            return None
        user = user_in(sign_in.user_header, user)
    except ProxyNameError as error:
        raise RefusedRequestError(400, str(error)) from None
    who = sign_in.identity(user, groups_in("".join(groups)))
    if who is None:
        raise RefusedRequestError(403, f"sign-in: {user!r} has no role here; whoever runs this service gives roles")
    return who


def client_address(request: Request, serving: Serving) -> str:
    """Return the address that a request comes from: what the proxy says, with its secret, or that of the connection."""
    own = request.client.host if request.client else ""
    shown = request.headers.getlist(SECRET_HEADER)
    if serving.sign_in is None or len(shown) != 1 or not serving.sign_in.is_secret(shown[0]):
        return own
    said = ",".join(request.headers.getlist(_FORWARDED_FOR)).rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(said))
    except ValueError:
        return own


def _check_secret(request: Request, serving: Serving, sign_in: ProxySignIn, names: list[str]) -> None:
    if sign_in.is_secret(the_one(SECRET_HEADER, request.headers.getlist(SECRET_HEADER))):
        return
    address = client_address(request, serving)
    if pause_s := serving.bad_tokens.count(address):
        raise too_many(f"{SECRET_HEADER}: too many wrong ones from {address}; try again in {pause_s} s", pause_s)
    raise RefusedRequestError(403, f"{' and '.join(names)}: only the proxy says that, with the right {SECRET_HEADER}")

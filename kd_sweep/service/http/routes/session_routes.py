"""Routes about those who use the service: browser sessions, tokens, the record of changes."""

import time
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, Field

from kd_sweep.service.access.audit import record, recorded
from kd_sweep.service.access.browser_sessions import COOKIE, LIFETIME_S, close_session, open_session
from kd_sweep.service.access.roles import Identity, Role
from kd_sweep.service.access.tokens import all_tokens, create_token, identified, revoke_token
from kd_sweep.service.http.answers.cursors import cursor_of, key_of
from kd_sweep.service.http.answers.paging import USUAL_ROWS
from kd_sweep.service.http.answers.problems import request_id_of
from kd_sweep.service.http.authorization import Admin, ForAdmins, Public, Viewer, refused_token
from kd_sweep.service.http.routes.api_router import api_router
from kd_sweep.service.http.serving import serving_of
from kd_sweep.service.rows.models import Token
from kd_sweep.service.service_errors import StateError

router = api_router("access")
_DAY_S = 86_400.0


class SignIn(BaseModel):
    """What a browser shows to get a session."""

    token: str = Field(max_length=200)


class NewToken(BaseModel):
    """A token that is asked for."""

    name: str = Field(max_length=100, description="By which its holder is known.")
    role: Role
    days: float | None = Field(default=None, gt=0, le=36_500, description="After which it is void; never without it.")


@router.post("/session", dependencies=[Public])
def sign_in(request: Request, response: Response, shown: SignIn) -> dict[str, Any]:
    """Open a browser's session with a token: sets a cookie, and returns the CSRF token for the page's changes."""
    serving, now = serving_of(request), time.time()
    with serving.rows.signing_in() as session:
        who = identified(session, shown.token.strip(), now)
        if who is None or who.token_id is None:
            raise refused_token(request, serving)
        cookie, csrf = open_session(session, who.token_id, now)
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int(LIFETIME_S),
        httponly=True,
        samesite="strict",
        secure=_is_by_https(request),
    )
    response.headers["Cache-Control"] = "no-store"
    return _about(who) | {"csrf": csrf, "proxy": None}


@router.get("/session")
def session_of(request: Request, response: Response, who: Viewer) -> dict[str, Any]:
    """Who makes this request; of a browser, what it shows with changes, too, and where a proxy signs it out."""
    response.headers["Cache-Control"] = "no-store"
    sign_in = serving_of(request).sign_in if who.by_proxy else None
    by_proxy = None if sign_in is None else {"sign_out": sign_in.sign_out}
    return _about(who) | {"csrf": who.csrf, "proxy": by_proxy}


@router.delete("/session", status_code=204)
def sign_out(request: Request, response: Response, who: Viewer) -> None:
    """End the browser's session."""
    if who.by_proxy:
        raise StateError("session: is the proxy's; it ends where the proxy signs people out")
    with serving_of(request).rows.signing_in() as session:
        close_session(session, request.cookies.get(COOKIE, ""))
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=_is_by_https(request))


@router.get("/tokens", dependencies=[ForAdmins])
def tokens(request: Request) -> dict[str, Any]:
    """Every token, without its secret."""
    with serving_of(request).rows.reading() as session:
        return {"tokens": [token_content(token, time.time()) for token in all_tokens(session)]}


@router.post("/tokens", status_code=201)
def make_token(request: Request, response: Response, who: Admin, wanted: NewToken) -> dict[str, Any]:
    """Make a token. Its secret is in this answer and nowhere else."""
    serving, now = serving_of(request), time.time()
    serving.check_writable()
    lifetime_s = None if wanted.days is None else wanted.days * _DAY_S
    with serving.rows.changing() as session:
        token, secret = create_token(session, wanted.name, wanted.role, now, lifetime_s)
        detail = {"name": token.name, "token_role": token.role, "expires_at": token.expires_at}
        record(session, who, "token.create", request_id_of(request), now, None, **detail)
        content = token_content(token, now)
    response.headers["Cache-Control"] = "no-store"
    return content | {"token": secret}


@router.delete("/tokens/{token}", status_code=204)
def revoke(request: Request, who: Admin, token: Annotated[str, Path(max_length=100, description="Its name.")]) -> None:
    """Make a token void at once."""
    serving, now = serving_of(request), time.time()
    serving.check_writable()
    with serving.rows.changing() as session:
        revoke_token(session, token, now)
        record(session, who, "token.revoke", request_id_of(request), now, None, name=token)


@router.get("/audit", dependencies=[ForAdmins])
def changes(
    request: Request,
    study: Annotated[str | None, Query(description="Only of this study.")] = None,
    after: Annotated[str | None, Query(max_length=2000)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = USUAL_ROWS,
) -> dict[str, Any]:
    """The record of changes, the newest first, page by page."""
    before = None if after is None else int(key_of(after, int)[0])
    with serving_of(request).rows.reading() as session:
        rows = recorded(session, study, before, limit + 1)
    names = ("id", "at", "who", "role", "action", "study", "detail", "request_id")
    shown = [{name: getattr(row, name) for name in names} for row in rows[:limit]]
    return {"changes": shown, "next": cursor_of(rows[limit - 1].id) if len(rows) > limit else None}


def token_content(token: Token, now: float) -> dict[str, Any]:
    """Return what lists say of a token."""
    names = ("name", "role", "created_at", "expires_at", "revoked_at", "last_used_at")
    is_void = token.revoked_at is not None or (token.expires_at is not None and token.expires_at <= now)
    return {name: getattr(token, name) for name in names} | {"is_valid": not is_void}


def _is_by_https(request: Request) -> bool:
    """Whether a browser makes this change by HTTPS, as it says itself: the service sees what a proxy makes of it."""
    return request.headers.get("origin", "").startswith("https://")


def _about(who: Identity) -> dict[str, Any]:
    return {"name": who.name, "role": who.role.value}

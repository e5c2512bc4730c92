"""Sessions of browsers: a cookie that scripts cannot read, and a second secret that the page shows with each change."""

import secrets

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from kd_sweep.service.access.roles import Identity
from kd_sweep.service.access.tokens import digest, identity_of
from kd_sweep.service.rows.models import BrowserSession, Token

COOKIE = "kd_sweep_session"
CSRF_HEADER = "X-CSRF-Token"
LIFETIME_S = 12 * 3600.0
_NUM_BYTES = 32
_LONGEST = 100


def open_session(session: Session, token_id: int, now: float) -> tuple[str, str]:
    """Open a browser's session; return its cookie and its CSRF token. Sessions that have ended are deleted."""
    session.execute(delete(BrowserSession).where(BrowserSession.expires_at <= now))
    cookie, csrf = secrets.token_urlsafe(_NUM_BYTES), secrets.token_urlsafe(_NUM_BYTES)
    session.add(BrowserSession(sha256=digest(cookie), token_id=token_id, csrf=csrf, expires_at=now + LIFETIME_S))
    return cookie, csrf


def session_identity(session: Session, cookie: str, now: float) -> Identity | None:
    """Return whose session a cookie is of; None where it is none, or it or its token have ended."""
    if not 0 < len(cookie) <= _LONGEST:
        return None
    row = session.execute(
        select(BrowserSession, Token).join(Token).where(BrowserSession.sha256 == digest(cookie))
    ).one_or_none()
    if row is None or row.BrowserSession.expires_at <= now:
        return None
    return identity_of(row.Token, now, row.BrowserSession.csrf)


def close_session(session: Session, cookie: str) -> None:
    """End a browser's session."""
    session.execute(delete(BrowserSession).where(BrowserSession.sha256 == digest(cookie)))


def shows_csrf(identity: Identity, shown: str) -> bool:
    """Whether a change comes from the page of the session itself: it shows the token that only that can read."""
    return identity.csrf is None or secrets.compare_digest(identity.csrf.encode(), shown.encode())

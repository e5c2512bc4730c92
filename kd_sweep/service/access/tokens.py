"""Tokens: 256 random bits that are shown once and kept as their SHA-256."""

import hashlib
import secrets
import threading
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_sweep.errors import alternatives
from kd_sweep.service.access.roles import Identity, Role
from kd_sweep.service.rows.models import Token
from kd_sweep.service.service_errors import ConflictError, NotFoundError

PREFIX = "kds_"
"""Of every token, so that scanners and `kd_sweep.redaction` know one when they see it."""
_NUM_BYTES = 32
_LONGEST = 100
_LONGEST_NAME = 100
_USE_NOTED_S = 60.0
"""The last use is noted at most so often: notes are changes, and wait for others."""


def create_token(session: Session, name: str, role: Role, now: float, lifetime_s: float | None) -> tuple[Token, str]:
    """Make a token.

    Args:
        session: of a change.
        name: by which lists, submissions and the record of changes call its holder.
        role: what it may.
        now: seconds since 1970.
        lifetime_s: after which it is void; never when None.

    Returns:
        Its row, and the secret, which is kept nowhere.

    Raises:
        ConflictError: the name is none, or another token has it.
    """
    if not _is_name(name):
        raise ConflictError(
            f"name: {name[:_LONGEST_NAME]!r} is not 1 to {_LONGEST_NAME} printable characters, with a letter or digit, "
            "without / and spaces around them"
        )
    if session.scalar(select(Token).where(Token.name == name)) is not None:
        raise ConflictError(f"name: there is a token {name!r} already; choose another name, also after a revocation")
    secret = PREFIX + secrets.token_urlsafe(_NUM_BYTES)
    expires_at = None if lifetime_s is None else now + lifetime_s
    token = Token(name=name, role=role.value, sha256=digest(secret), created_at=now, expires_at=expires_at)
    session.add(token)
    session.flush()
    return token, secret


def _is_name(name: str) -> bool:
    """Whether lists can show a name, and a path of the API can hold it."""
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable() or name != name.strip():
        return False
    return "/" not in name and any(character.isalnum() for character in name)


def all_tokens(session: Session) -> Sequence[Token]:
    """Return every token in the order in which they were made."""
    return session.scalars(select(Token).order_by(Token.id)).all()


def revoke_token(session: Session, name: str, now: float) -> Token:
    """Make a token void at once, and the browser sessions that it has opened; `NotFoundError` for another name."""
    token = session.scalar(select(Token).where(Token.name == name))
    if token is None:
        raise NotFoundError(f"token: {name!r} is none; {alternatives(name, session.scalars(select(Token.name)))}")
    token.revoked_at = token.revoked_at or now
    return token


def identified(session: Session, secret: str, now: float) -> Identity | None:
    """Return who has this token; None where nobody has, or it is expired or revoked."""
    if not secret.startswith(PREFIX) or len(secret) > _LONGEST:
        return None
    token = session.scalar(select(Token).where(Token.sha256 == digest(secret)))
    return None if token is None else identity_of(token, now)


def identity_of(token: Token, now: float, csrf: str | None = None) -> Identity | None:
    """Return who has a token; None where it is expired or revoked."""
    if token.revoked_at is not None or (token.expires_at is not None and token.expires_at <= now):
        return None
    return Identity(token.name, Role(token.role), token.id, csrf)


def note_use(session: Session, token_id: int, now: float) -> None:
    """Note that a token was used."""
    token = session.get(Token, token_id)
    if token is not None:
        token.last_used_at = now


def use_is_stale(session: Session, token_id: int, now: float) -> bool:
    """Whether the last noted use of a token is so long ago that another one is worth a note."""
    token = session.get(Token, token_id)
    return token is not None and (token.last_used_at is None or now - token.last_used_at > _USE_NOTED_S)


class NotedUses:
    """Whose use a process has noted of late: of many requests at once one waits for the note, and the others go on."""

    def __init__(self) -> None:
        self._noted_at: dict[int, float] = {}
        self._lock = threading.Lock()

    def take(self, token_id: int, now: float) -> bool:
        """Whether the caller is the one to note the use of a token; nobody else is for as long as a note lasts."""
        with self._lock:
            if now - self._noted_at.get(token_id, 0.0) <= _USE_NOTED_S:
                return False
            self._noted_at[token_id] = now
            return True


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret: with 256 random bits no salt and no slow hash are needed."""
    return hashlib.sha256(secret.encode()).hexdigest()

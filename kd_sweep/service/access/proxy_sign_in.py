"""Sign-in by a proxy: whom it names, and the role that the operator gives them.

The proxy shows a secret with every request. So its word counts wherever it connects from, and a name that anybody else
sends does not: no other process of the machine, no request that was smuggled through a connection of the proxy's, and
nobody who has seen a name go by.
"""

import hmac
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kd_sweep.service.access.roles import Identity, Role

SECRET_HEADER = "X-KD-Sweep-Proxy-Secret"
_LONGEST_NAME = 100


class ProxyNameError(ValueError):
    """A proxy names somebody in a way that can be read in more than one. The message is one line."""


class Grantees(Protocol):
    """Who has a role."""

    @property
    def users(self) -> Collection[str]: ...  # noqa: D102
    @property
    def groups(self) -> Collection[str]: ...  # noqa: D102
    @property
    def everybody(self) -> bool: ...  # noqa: D102


@dataclass(frozen=True)
class ProxySignIn:
    """What a service knows of the proxy before it that signs people in."""

    secret: str = field(repr=False)
    user_header: str
    groups_header: str | None
    sign_out: str | None
    """Where a browser ends its session with the proxy."""
    roles: Mapping[Role, Grantees]

    def is_secret(self, shown: str) -> bool:
        """Whether this is the proxy's secret."""
        return hmac.compare_digest(self.secret.encode(), shown.encode())

    def role_of(self, user: str, groups: Collection[str]) -> Role | None:
        """Return the highest role that somebody was given; None without one."""
        for role in reversed(Role):
            given = self.roles.get(role)
            if given and (given.everybody or user in given.users or not set(given.groups).isdisjoint(groups)):
                return role
        return None

    def identity(self, user: str, groups: Collection[str]) -> Identity | None:
        """Return who makes a request; None for somebody without a role."""
        role = self.role_of(user, groups)
        return None if role is None else Identity(user, role, csrf=self._csrf(user), by_proxy=True)

    def _csrf(self, user: str) -> str:
        """Return what the page shows with each change: nobody can know it who cannot read an answer to this user.

        The proxy knows a browser by a cookie, which foreign pages send along, too.
        """
        return hmac.new(self.secret.encode(), b"csrf\0" + user.encode(), "sha256").hexdigest()


def the_one(name: str, values: Collection[str]) -> str:
    """Return what a header says; nothing where it is missing or empty.

    Args:
        name: of the header.
        values: every value that came under it, each a character for a byte.

    Raises:
        ProxyNameError: it came twice, or is no text.
    """
    if len(values) > 1:
        raise ProxyNameError(f"{name}: came {len(values)} times; the proxy must replace it, not add to it")
    try:
        text = "".join(values).encode("latin-1").decode().strip()
    except UnicodeError:
        raise ProxyNameError(f"{name}: is not UTF-8") from None
    if not text.isprintable():
        raise ProxyNameError(f"{name}: {text[:_LONGEST_NAME]!r} is not printable")
    return text


def user_in(name: str, text: str) -> str:
    """Return whom a header names.

    Raises:
        ProxyNameError: it names more than one, or nobody whose name fits.
    """
    if "," in text or ";" in text:
        raise ProxyNameError(f"{name}: {text[:_LONGEST_NAME]!r} names more than one; one user is needed")
    if not 0 < len(text) <= _LONGEST_NAME:
        raise ProxyNameError(f"{name}: {text[:_LONGEST_NAME]!r} is not a name of 1 to {_LONGEST_NAME} characters")
    return text


def groups_in(text: str) -> frozenset[str]:
    """Return the groups that a header lists, separated by commas."""
    return frozenset(group for part in text.split(",") if (group := part.strip()))

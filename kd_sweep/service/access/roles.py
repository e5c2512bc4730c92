"""The roles of those who use the service, each with all that the one before it may."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody may do."""

    VIEWER = "viewer"
    """Reads everything but tokens, webhooks and the record of changes."""
    OPERATOR = "operator"
    """Submits studies and changes them, too."""
    ADMIN = "admin"
    """Deletes studies, and manages tokens and webhooks, too."""

    def includes(self, other: "Role") -> bool:
        """Whether this role may all that another may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True)
class Identity:
    """Whoever makes a request."""

    name: str
    """Of the token, or of the user whom the proxy names."""
    role: Role
    token_id: int | None = None
    """None for somebody who has shown none."""
    csrf: str | None = None
    """What the page shows with each change. None for a token in the header, which browsers send for no foreign page."""
    by_proxy: bool = False
    """Whether the proxy names them."""

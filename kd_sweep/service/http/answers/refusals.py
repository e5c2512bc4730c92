"""Refused requests: what HTTP alone can refuse, each with its status."""

from collections.abc import Mapping

from kd_sweep.errors import KdSweepError


class RefusedRequestError(KdSweepError):
    """A request that is not answered, for a reason that only HTTP knows. The message is one line.

    Args:
        status: of the answer.
        reason: rule, value, and what is possible.
        headers: of the answer, such as ``Retry-After``.
    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.headers = dict(headers or {})


def unauthenticated(reason: str) -> RefusedRequestError:
    """Return the refusal of somebody whose token is missing, wrong, expired or revoked."""
    return RefusedRequestError(401, reason, {"WWW-Authenticate": 'Bearer realm="kd-sweep"'})


def too_many(reason: str, retry_after_s: int) -> RefusedRequestError:
    """Return the refusal of one request too many, with the seconds after which another one is worth a try."""
    return RefusedRequestError(429, reason, {"Retry-After": str(retry_after_s)})

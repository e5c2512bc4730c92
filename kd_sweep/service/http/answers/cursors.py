"""Cursors of lists: where the next page begins, as text that clients hand back unread."""

import base64
import json
from typing import Any

from kd_sweep.service.http.answers.refusals import RefusedRequestError

_LONGEST = 2000


def cursor_of(*key: str | float | bool | None) -> str:
    """Return the cursor behind the row with this key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def key_of(cursor: str, length: int) -> list[Any]:
    """Return the key in a cursor.

    Args:
        cursor: as `cursor_of` made it.
        length: number of values in the keys of the list.

    Raises:
        RefusedRequestError: it is no cursor of this list.
    """
    try:
        key = json.loads(base64.urlsafe_b64decode(f"{cursor}{'=' * (-len(cursor) % 4)}".encode()))
    except (ValueError, RecursionError):
        key = None
    if len(cursor) > _LONGEST or not isinstance(key, list) or len(key) != length or not all(map(_is_plain, key)):
        raise RefusedRequestError(
            400, f"after: {cursor[:80]!r} is not a cursor of this list; take `next` of a page of it"
        )
    return key


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)

"""Cursors of lists: where the next page begins, as text that clients hand back unread."""

import base64
import json
from typing import Any

from kd_sweep.service.http.answers.refusals import RefusedRequestError

_LONGEST = 2000


def cursor_of(*key: str | float | bool | None) -> str:
    """Return the cursor behind the row with this key."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def key_of(cursor: str, *kinds: type) -> list[Any]:
    """Return the key in a cursor, which may come from anybody.

    Args:
        cursor: as `cursor_of` made it.
        kinds: of the values in the keys of the list: `str`, `int`, or `object` for any of `cursor_of`. Numbers are
            finite and fit into 64 bits, and text can be written as UTF-8.

    Raises:
        RefusedRequestError: it is no cursor of this list.
    """
    try:
        key: Any = json.loads(base64.urlsafe_b64decode(f"{cursor}{'=' * (-len(cursor) % 4)}".encode()))
    except (ValueError, RecursionError):
        key = None
    values = key if isinstance(key, list) and len(cursor) <= _LONGEST else []
    if len(values) != len(kinds) or not all(map(_is_plain, values)) or not all(map(_is_of, values, kinds)):
        raise RefusedRequestError(
            400, f"after: {cursor[:80]!r} is not a cursor of this list; take `next` of a page of it"
        )
    return values


def _is_of(value: object, kind: type) -> bool:
    return kind is object or type(value) is kind  # True is no number here


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, int | float):
        return abs(value) < 2**63  # which NaN is not either
    return value is None

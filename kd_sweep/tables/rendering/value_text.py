"""The text of values: in tables for people, in JSON, on terminals."""

import datetime
import decimal
import json
import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

_MOST_DECIMALS = 6
_USUAL_DECIMALS = 4
_SIGNIFICANT_DIGITS = 2
"""So many of the smallest number of a column are shown at least."""
_LARGEST = 1e7
"""Columns with such a number are in powers of ten."""
_UNSEEN = re.compile(r"[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def cells(values: Sequence[Any]) -> list[str]:
    """Return a column as a table for people shows it: its floats in one notation with equal decimals; null as a dash.

    Decimals are as many as the values have, at most four, and up to six where the smallest would have fewer than two
    digits; if that is not enough, or a number has more than seven digits before the point, the whole column is in
    powers of ten.
    """
    notation = _notation([abs(v) for v in values if isinstance(v, float) and math.isfinite(v) and v != 0])
    return [_number(value, notation) if isinstance(value, float) else _cell(value) for value in values]


def escaped(text: str) -> str:
    r"""Return text that a terminal shows and never obeys: controls and marks of direction are written as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(map(_visible, text))


def plain(value: Any) -> Any:
    r"""Return a value as JSON has it: times ISO 8601, bytes as text with `\x00`, whole decimals integers.

    Numbers that JSON lacks are text: `"NaN"`, `"Infinity"`, `"-Infinity"`, and decimals that no double equals.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else _non_finite(value)
    if isinstance(value, decimal.Decimal):
        return _decimal(value)
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return "".join(chr(b) if 32 <= b < 127 and b != 92 else f"\\x{b:02X}" for b in value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def json_text(value: Any) -> str:
    """Return a value as JSON on one line; text by itself stays as it is. No character of it moves a terminal."""
    simple = plain(value)
    if isinstance(simple, str):
        return simple
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(simple, ensure_ascii=False, allow_nan=False))


def _visible(character: str) -> str:
    if character == "\n" or character.isprintable():
        return character
    if character == "\t" or unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode()


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return value.replace(tzinfo=None).isoformat(" ", "seconds")
    if isinstance(value, decimal.Decimal):
        return f"{value:f}"
    return escaped(json_text(value))


def _notation(sizes: Sequence[float]) -> str:
    """Return the format of a column of floats with these sizes, none of them 0."""
    if not sizes:
        return ".1f"
    if max(sizes) >= _LARGEST:
        return ".3e"
    decimals = next((n for n in range(1, _USUAL_DECIMALS) if _are_exact(sizes, n)), _USUAL_DECIMALS)
    needed = _SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(min(sizes)))
    if needed > decimals and not _are_exact(sizes, decimals):
        decimals = needed
    return f".{decimals}f" if decimals <= _MOST_DECIMALS else ".3e"


def _are_exact(sizes: Sequence[float], decimals: int) -> bool:
    return all(math.isclose(round(size, decimals), size, rel_tol=1e-9) for size in sizes)


def _number(value: float, notation: str) -> str:
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{value:+}"
    return f"{value:{notation}}"


def _non_finite(value: float) -> str:
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _decimal(value: decimal.Decimal) -> int | float | str:
    if value == value.to_integral_value():
        return int(value)
    return float(value) if decimal.Decimal(repr(float(value))) == value else f"{value:f}"

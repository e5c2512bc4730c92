"""Content digests: the same configuration has the same name everywhere and for ever."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

SECTIONS = ("data", "augmentation", "teacher", "student", "distillation", "metrics")
"""The parts of a trial that are models of their own."""

DIGEST_LENGTH = 16
IDENTITY_VERSION = 2
"""Of the rules that make ids: fields, their defaults and canonical values, and what a fingerprint is taken of.

Ids of two versions are not compared. A frozen study holds the number of the rules that made its own.
"""


def digest(content: Any) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of ``content`` as canonical JSON."""
    return _name(canonical_json(content))


def digest_of_parts(parts: Mapping[str, str]) -> str:
    """Return the `digest` of a mapping whose values are given as canonical JSON.

    Trials of one study have most parts in common, and the text of a part can be made once for all of them.

    Args:
        parts: JSON by key; the keys are plain ASCII.
    """
    return _name("{" + ",".join([f'"{key}":{parts[key]}' for key in sorted(parts)]) + "}")


def canonical_json(content: Any) -> str:
    """Return ``content`` as the one JSON text that stands for it.

    Floats are rounded to 12 significant digits first, so that 0.1 + 0.2 and 0.3 are one configuration.
    """
    return json.dumps(_rounded(content), sort_keys=True, separators=(",", ":"), allow_nan=False)


def derived_seed(*parts: Any) -> int:
    """Return a 63-bit seed that is a pure function of ``parts`` (any JSON values)."""
    return int(digest(list(parts)), 16) >> 1


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]


def _rounded(content: Any) -> Any:
    if isinstance(content, float):
        return int(content) if content.is_integer() else float(f"{content:.12g}")
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_rounded(value) for value in content]
    return content

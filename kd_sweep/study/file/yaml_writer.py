"""Plain values as YAML that every reader, of YAML 1.1 or 1.2, reads back as the same values."""

import re
from collections.abc import Iterator
from typing import Any

LINE_WIDTH = 100
PLAIN_TEXT = re.compile(r"[A-Za-z_/][A-Za-z0-9_./+-]*")
NOT_TEXT = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
"""Words that one version of YAML or the other reads as something else."""


def yaml_text(content: dict[str, Any]) -> str:
    """Return a mapping of JSON values as YAML: short sections on one line, the others a key a line, in their order."""
    return "".join(f"{line}\n" for key, value in content.items() for line in _lines("", f"{_scalar(key)}:", value))


def _lines(indent: str, prefix: str, value: Any) -> Iterator[str]:
    flow = f"{indent}{prefix} {_flow(value)}"
    nested = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))
    if not value or not nested or len(flow) <= LINE_WIDTH:
        yield flow
        return
    yield f"{indent}{prefix}"
    for key, inner in value.items() if isinstance(value, dict) else [(None, item) for item in value]:
        yield from _lines(f"{indent}  ", "-" if key is None else f"{_scalar(key)}:", inner)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(inner) for inner in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = repr(value)
        return text if "." in text else text.replace("e", ".0e")  # YAML 1.1 knows no 1e-05
    if isinstance(value, int):
        return str(value)
    if PLAIN_TEXT.fullmatch(value) and value.lower() not in NOT_TEXT:
        return str(value)
    quoted = "".join(
        character if character.isprintable() and character not in '"\\' else f"\\U{ord(character):08x}"
        for character in value
    )
    return f'"{quoted}"'

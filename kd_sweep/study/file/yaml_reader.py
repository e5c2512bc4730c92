"""YAML text as plain JSON values, every one of which remembers the line it stands in.

The YAML is the core schema of version 1.2: `1e-3` is a number, `yes` and `2024-01-01` are text. Tags are refused, so
nothing but null, booleans, numbers, text, lists and mappings can come out, whatever the file holds.
"""

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from kd_sweep.errors import SpecError
from kd_sweep.study.spec import Scalar

KeyPath = tuple[str | int, ...]

MAX_DEPTH = 32
MAX_NODES = 100_000
CHARACTERS_PER_NODE = 100
MAX_DIGITS = 100

CORE_SCHEMA: tuple[tuple[re.Pattern[str], Callable[[str], Scalar]], ...] = (
    (re.compile(r"null|Null|NULL|~|"), lambda _: None),
    (re.compile(r"true|True|TRUE|false|False|FALSE"), lambda text: text.lower() == "true"),
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+"), lambda text: int(text[2:], 8)),
    (re.compile(r"0x[0-9a-fA-F]+"), lambda text: int(text[2:], 16)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"), lambda text: float(text.replace(".", ""))),
)
"""YAML 1.2.2, section 10.3.2: how plain scalars are read. What matches none is text."""
_TABS = (
    (re.compile(r"[ \t]*\t[ \t]*(?=\r?$)", re.MULTILINE), ""),
    (re.compile(r"^([^'\"\n]*?)\t[ \t]*(?=#)", re.MULTILINE), r"\1 "),
    (re.compile(r"^( *(?:- +)*[\w.-]+:|(?: *-)+)\t[ \t]*", re.MULTILINE), r"\1 "),
)


def one_line(text: str, limit: int = 400) -> str:
    """Return ``text`` on one line without control characters, cut to ``limit`` characters."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def written(path: KeyPath) -> str:
    """Return a path as a user writes it: `search.ensemble_size.grid[0]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def shown(value: Any) -> str:
    """Return a value as an error names it: short, and on one line."""
    if value is None:
        return "null (nothing)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "the list"
    return one_line(repr(value), 60)


@dataclass
class Document:
    """A study file's content and where each part of it stands."""

    source: str
    """The file as the user named it, on one line; nothing where there is none, and fields are named alone."""
    content: Any
    origins: dict[KeyPath, str] = field(default_factory=dict)
    """`sweeps/digits.yaml, line 9` or `--set teacher.epochs=4`, by path."""
    numbers: dict[KeyPath, str] = field(default_factory=dict)
    """How each number is written, by path: `010`, `1e-3`."""

    def origin(self, path: KeyPath) -> str:
        """Return where ``path``, or the nearest thing that contains it, is written."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return self.source

    def error(self, path: KeyPath, rule: str) -> SpecError:
        """Return the one-line error that ``path`` breaks ``rule``."""
        if not path:
            return SpecError(f"{self.source}: {one_line(rule)}" if self.source else one_line(rule))
        where = f" ({origin})" if (origin := self.origin(path)) else ""
        return SpecError(f"{one_line(written(path), 120)}: {one_line(rule)}{where}")


def read_yaml(text: str, source: str, *, numbered: bool = True, max_nodes: int = MAX_NODES) -> Document:
    """Parse one YAML document.

    Args:
        text: the YAML.
        source: what errors call it.
        numbered: whether errors name lines; an override has only one.
        max_nodes: how many values the document may hold, aliases written out; long text counts as several.

    Raises:
        SpecError: the text is not YAML, holds a key twice, a tag, a second document or too many values.
    """
    builder = _Builder(source, numbered, max_nodes)
    try:
        content = builder.build(YAML(typ="safe", pure=True).parse(_spaced(text)))
        return Document(source, content, builder.origins, builder.numbers)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = f"is not valid YAML: {error.problem or error.context}"
        if r"'\t'" in problem:
            problem = "is not valid YAML: a tab stands where only spaces may, such as before a key"
        raise builder.error(problem, mark.line if mark else None) from None
    except YAMLError as error:
        position = getattr(error, "position", None)
        line = None if position is None else text.count("\n", 0, position)
        raise builder.error(f"is not valid YAML: {getattr(error, 'reason', None) or error}", line) from None
    except (ValueError, OverflowError, LookupError, AttributeError, TypeError, RecursionError) as error:
        # ruamel.yaml lets some of these out of broken escapes and directives instead of a YAMLError.
        raise builder.error(f"is not valid YAML: {error or type(error).__name__}", None) from None


def _spaced(text: str) -> str:
    """Return YAML with tabs as spaces where both are allowed and ruamel.yaml reads spaces alone.

    That is behind a value, before a comment, and behind a key or a dash.
    """
    for pattern, replacement in _TABS:
        text = pattern.sub(replacement, text)
    return text


@dataclass
class _Anchored:
    value: Any
    num_nodes: int


class _Builder:
    """Turns a stream of YAML events into values. Events, not nodes: a node graph would hide tags and duplicates."""

    def __init__(self, source: str, numbered: bool, max_nodes: int) -> None:
        self.max_nodes = max_nodes
        self.source = source
        self.numbered = numbered
        self.origins: dict[KeyPath, str] = {}
        self.numbers: dict[KeyPath, str] = {}
        self.anchors: dict[str, _Anchored] = {}
        self.num_nodes = 0

    def error(self, rule: str, line: int | None) -> SpecError:
        where = f", line {line + 1}" if line is not None and self.numbered else ""
        return SpecError(f"{self.source}{where}: {one_line(rule)}")

    def build(self, events: Iterator[Any]) -> Any:
        content: Any = None
        num_documents = 0
        for event in events:
            if isinstance(event, DocumentStartEvent):
                num_documents += 1
                if num_documents > 1:
                    raise self.error("a second document starts here; a study is one document", _line(event))
                content = self._node(next(events), events, ())
            elif isinstance(event, StreamEndEvent):
                break
        return content

    def _node(self, event: Any, events: Iterator[Any], path: KeyPath) -> Any:
        if isinstance(event, AliasEvent):
            return self._alias(event)
        if len(path) > MAX_DEPTH:
            raise self.error(f"is nested deeper than {MAX_DEPTH} levels", _line(event))
        if event.tag is not None:
            raise self.error(f"the tag {event.tag!r} is not supported; write the plain value", _line(event))
        before = self.num_nodes
        self._count(1 + len(getattr(event, "value", "")) // CHARACTERS_PER_NODE, event)
        value: Any
        if isinstance(event, ScalarEvent):
            value = self._scalar(event)
            if isinstance(value, int | float) and not isinstance(value, bool):
                self.numbers[path] = event.value
        elif isinstance(event, SequenceStartEvent):
            value = self._sequence(events, path)
        else:
            value = self._mapping(events, path)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchored(value, self.num_nodes - before)
        return value

    def _count(self, num_nodes: int, event: Any) -> None:
        """Aliases count for all that they stand for: a few lines of them can mean billions of values."""
        self.num_nodes += num_nodes
        if self.num_nodes > self.max_nodes:
            raise self.error(f"holds more than {self.max_nodes} values", _line(event))

    def _alias(self, event: AliasEvent) -> Any:
        anchored = self.anchors.get(event.anchor)
        if anchored is None:
            raise self.error(f"the alias *{event.anchor} names no finished anchor above it", _line(event))
        self._count(anchored.num_nodes, event)
        return copy.deepcopy(anchored.value)

    def _scalar(self, event: ScalarEvent) -> Any:
        text: str = event.value
        if not event.implicit[0]:
            return text
        for pattern, convert in CORE_SCHEMA:
            if pattern.fullmatch(text):
                if len(text) > MAX_DIGITS:
                    raise self.error(f"a number of {len(text)} characters is too long", _line(event))
                return convert(text)
        return text

    def _sequence(self, events: Iterator[Any], path: KeyPath) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(events), SequenceEndEvent):
            self._place((*path, len(values)), event)
            values.append(self._node(event, events, (*path, len(values))))
        return values

    def _mapping(self, events: Iterator[Any], path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := next(events), MappingEndEvent):
            if isinstance(event, MappingStartEvent | SequenceStartEvent | AliasEvent):
                raise self.error("a key must be text", _line(event))
            key: str = event.value
            if event.tag is not None:
                raise self.error(f"the tag {event.tag!r} is not supported; write the plain key", _line(event))
            if key in values:
                both = f"lines {lines[key] + 1} and {_line(event) + 1}" if self.numbered else "one value"
                raise self.error(f"{written((*path, key))}: written twice, in {both}", _line(event))
            if key == "<<" and event.implicit[0]:
                merged |= self._merge(self._node(next(events), events, (*path, key)), event)
                continue
            self._place((*path, key), event)
            lines[key] = _line(event)
            values[key] = self._node(next(events), events, (*path, key))
        return {key: value for key, value in merged.items() if key not in values} | values

    def _merge(self, value: Any, event: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error("<<: needs an alias of a mapping, such as `<<: *recipe`", _line(event))
        return value

    def _place(self, path: KeyPath, event: Any) -> None:
        self.origins[path] = f"{self.source}, line {_line(event) + 1}" if self.numbered else self.source


def _line(event: Any) -> int:
    return int(event.start_mark.line)

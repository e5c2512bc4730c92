"""`--set key=value`: a change to a study file's content, made before it is validated."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from kd_sweep.catalogue.lookup import entry_of
from kd_sweep.catalogue.selecting_section import SelectingSection, section_class
from kd_sweep.errors import SpecError
from kd_sweep.study.file.yaml_reader import Document, KeyPath, one_line, read_yaml, shown, written
from kd_sweep.study.sampler import Sampler
from kd_sweep.study.scheduler import Scheduler
from kd_sweep.study.spec import DIMENSION_KINDS

SELECTED: dict[str, type[SelectingSection]] = {"sampler": Sampler, "scheduler": Scheduler}
"""Sections that have the keys of the entry that they select, and no others."""
DIMENSION_KEYS = frozenset({*DIMENSION_KINDS, "step", "log"})


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Change ``document`` in place by ``overrides``, each `dotted.path=YAML value`; later ones win.

    Raises:
        SpecError: an override has no `=` or no key, its value is not YAML, or its path leads through a scalar.
    """
    for override in overrides:
        origin = one_line(f"--set {override}", 120)
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise SpecError(f"{origin}: needs the form KEY=VALUE, such as --set teacher.epochs=4")
        put_value(document, key.strip(), read_yaml(text, origin, numbered=False), origin)


def put_value(document: Document, key: str, value: Document, origin: str) -> None:
    """Change the value of one field of ``document`` in place.

    Args:
        document: a study file's content.
        key: the dotted name of the field.
        value: its new value.
        origin: what errors call it.

    Raises:
        SpecError: the key is none, or its path leads through a scalar.
    """
    path = _path(key, origin)
    if path[0] == "provenance":
        raise SpecError(f"{origin}: provenance is what a launch writes, and cannot be set")
    _put(document, path, value, origin)


def _path(key: str, origin: str) -> KeyPath:
    """Split at the dots, except those within the name of a search dimension."""
    parts = key.split(".")
    if "" in parts:
        raise SpecError(f"{origin}: a part of the key {shown(key)} is empty")
    if parts[0] != "search" or len(parts) < 3:
        return tuple(parts)
    if "when" in parts[2:]:
        when = parts.index("when", 2)
        return (
            "search",
            ".".join(parts[1:when]),
            "when",
            *([".".join(parts[when + 1 :])] if parts[when + 1 :] else []),
        )
    if len(parts) > 3 and parts[-2] in DIMENSION_KEYS and parts[-1].isdecimal():
        return ("search", ".".join(parts[1:-2]), parts[-2], parts[-1])
    if parts[-1] in DIMENSION_KEYS:
        return ("search", ".".join(parts[1:-1]), parts[-1])
    return ("search", ".".join(parts[1:]))


def _put(document: Document, path: KeyPath, value: Document, origin: str) -> None:
    if not isinstance(document.content, dict):
        return  # A file that is no mapping is refused right after this, by its own error.
    if path[0] == "search" and len(path) == 3:
        _choose_kind(document.content, str(path[1]), str(path[2]))
    container: Any = document.content
    done: KeyPath = ()
    for part, following in itertools.pairwise(path):
        step = _key_in(container, str(part), done, origin)
        inside = container[step] if isinstance(step, int) else container.get(step)
        if inside is None:
            inside = container[step] = [] if following == "0" else {}
            document.origins[(*done, step)] = origin
        container = inside
        done = (*done, step)
    step = _key_in(container, str(path[-1]), done, origin)
    container[step] = value.content
    if len(path) == 2 and path[0] in SELECTED and path[1] == "name":
        _drop_foreign_keys(container, _model(SELECTED[str(path[0])], str(value.content)))
    changed = (*done, step)
    document.origins = _without(document.origins, changed) | {changed: origin}
    written_so = {(*changed, *inside): number for inside, number in value.numbers.items()}
    document.numbers = _without(document.numbers, changed) | written_so


def _without(by_path: Mapping[KeyPath, str], path: KeyPath) -> dict[KeyPath, str]:
    """Return the entries that are not at ``path`` or below it."""
    return {key: entry for key, entry in by_path.items() if key[: len(path)] != path}


def _key_in(container: Any, part: str, path: KeyPath, origin: str) -> str | int:
    """Return the key or index of ``part``; a list grows by one where it is the next index."""
    if isinstance(container, dict):
        return part
    if isinstance(container, list) and part.isdecimal() and int(part) <= len(container):
        if int(part) == len(container):
            container.append(None)
        return int(part)
    if isinstance(container, list):
        indices = (
            f"has indices 0 to {len(container) - 1}; {len(container)} adds one" if container else "is empty; 0 adds one"
        )
        raise SpecError(f"{written((*path, part))}: the list {indices} ({origin})")
    raise SpecError(f"{written((*path, part))}: {written(path)} is {shown(container)}, not a mapping ({origin})")


def _choose_kind(content: dict[str, Any], name: str, key: str) -> None:
    """Make room for another kind of dimension: a new `uniform` replaces the old `grid`, not joins it."""
    search = content.get("search")
    if not isinstance(search, dict):
        return
    dimension = search.get(name, {})
    if not isinstance(dimension, dict):
        search[name] = {}
    elif key in DIMENSION_KINDS and key not in dimension:
        search[name] = {old: value for old, value in dimension.items() if old not in DIMENSION_KEYS}


def _model(section: type[SelectingSection], name: str) -> type[BaseModel] | None:
    """Return the class of a sampler or scheduler of this name; None where there is none."""
    model: type[BaseModel] | None = section_class(section, [name]) if entry_of(section.kind, name) else None
    return model


def _drop_foreign_keys(section: dict[str, Any], model: type[BaseModel] | None) -> None:
    """Leave out what the newly named sampler or scheduler does not have: `grid` needs no `num_trials`."""
    for key in [key for key in section if model is not None and key not in model.model_fields]:
        del section[key]

"""The entries of the catalogue, by kind and name: those of plug-ins are registered as the built-in ones are."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeVar

from kd_sweep.catalogue.kinds import Kind
from kd_sweep.catalogue.parameters import NoParameters, Parameters
from kd_sweep.errors import PluginError

T = TypeVar("T")

_entries: dict[tuple[Kind, str], "Entry"] = {}
_BUILT_IN_PACKAGE = __name__.partition(".")[0]


class Family(NamedTuple):
    """The names that a built-in entry answers for, instead of its own."""

    matches: Callable[[str], bool]
    examples: tuple[str, ...]
    """Some of the names, or all of them."""
    wording: str
    """All of them, in messages: `resnet8 … resnet110`."""
    refusal: Callable[[str], str | None] | None = None
    """Returns why a name is none of them after all. It may take seconds, and is asked for a message alone."""


@dataclass(frozen=True)
class Entry:
    """Something that a study can select by name."""

    kind: Kind
    name: str
    """`kl`; of a plug-in `package:name`."""
    item: Any
    """What was registered: a function or a class, as its kind demands."""
    parameters: type[Parameters]
    module: str
    """Where it was registered."""
    version: str
    """As its author declares it; empty for what is built in."""
    family: Family | None = None
    """Of an entry that answers for several names."""
    traits: Any = None
    """What its kind asks of it beside, such as `PipelineTraits`."""

    @property
    def wording(self) -> str:
        """How messages call what is selected."""
        return repr(self.name) if self.family is None else self.family.wording

    @property
    def is_built_in(self) -> bool:
        """Whether it belongs to kd_sweep."""
        return ":" not in self.name


def register(
    kind: Kind,
    name: str,
    *,
    parameters: type[Parameters] = NoParameters,
    version: str = "1",
    family: Family | None = None,
    traits: Any = None,
) -> Callable[[T], T]:
    """Return a decorator that registers a function or class as an entry.

    Args:
        kind: of the entry.
        name: letters, digits and `_`. A plug-in's is preceded by the top-level package that the item is defined in.
        parameters: the class of its parameters.
        version: of the entry; another version is another entry, to which no old trial belongs.
        family: the names that a built-in entry answers for, instead of its own.
        traits: what the kind asks of its entries beside.
    """

    def decorate(item: T) -> T:
        module = str(getattr(item, "__module__", ""))
        package = module.partition(".")[0]
        is_built_in = package == _BUILT_IN_PACKAGE
        _check(kind, name, item, parameters, module)
        full_name = name if is_built_in else f"{package}:{name}"
        entry = Entry(kind, full_name, item, parameters, module, "" if is_built_in else version, family, traits)
        other = _entries.get((kind, full_name))
        if other is not None and _origin(other.item) != _origin(item):
            raise PluginError(f"{kind.name} {full_name!r} is registered twice: {_origin(other.item)}, {_origin(item)}")
        _entries[kind, full_name] = entry
        return item

    return decorate


def registered(kind: Kind, name: str) -> Entry | None:
    """Return the entry of this name, None where there is none: of those built in, and of plug-ins that are loaded."""
    library, colon, _ = name.partition(":")
    if colon:
        return _entries.get((kind, name)) or (_built_in(kind, kind.otherwise) if library in kind.libraries else None)
    entry = _built_in(kind, name) if name in _files(kind) else None
    if entry is not None and entry.family is None:
        return entry
    answering = (entry for entry in _all_built_in(kind) if entry.family is not None and entry.family.matches(name))
    return next(answering, _built_in(kind, kind.otherwise) if kind.otherwise else None)


def entries_of(kind: Kind) -> list[Entry]:
    """Return all entries: those built in, then those of plug-ins that are loaded, each sorted by name."""
    foreign = sorted((entry for entry in plugin_entries() if entry.kind == kind), key=lambda entry: entry.name)
    return [*_all_built_in(kind), *foreign]


def plugin_entries() -> tuple[Entry, ...]:
    """Return the entries of plug-ins that are loaded, of every kind: what differs from one call to another."""
    return tuple(entry for (_, name), entry in _entries.items() if ":" in name)


def entry_names(kind: Kind) -> list[str]:
    """Return the names of all entries, in the order of `entries_of`; of families their examples."""
    named = ((entry.name,) if entry.family is None else entry.family.examples for entry in entries_of(kind))
    return [name for names in named for name in names]


@cache
def _all_built_in(kind: Kind) -> tuple[Entry, ...]:
    return tuple(_built_in(kind, name) for name in _files(kind))


def _built_in(kind: Kind, name: str) -> Entry:
    """Return the entry of a file of the kind's folder."""
    if (kind, name) not in _entries:
        importlib.import_module(f"{kind.folder}.{name}")
    return _entries[kind, name]


def _files(kind: Kind) -> tuple[str, ...]:
    folder = importlib.import_module(kind.folder)
    return _modules(tuple(folder.__path__))


@cache
def _modules(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the modules in folders, sorted: those of the entries there."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_")))


def registered_by(module: str) -> list[Entry]:
    """Return the entries that a module, or the package of that name, has registered."""
    return [entry for entry in _entries.values() if f"{entry.module}.".startswith(f"{module}.")]


def plugin_packages() -> set[str]:
    """Return the top-level packages of the plug-ins that are loaded."""
    return {entry.module.partition(".")[0] for entry in plugin_entries()}


def _check(kind: Kind, name: str, item: Any, parameters: type[Parameters], module: str) -> None:
    if not name.replace("_", "a").isalnum() or not name.isascii():
        raise PluginError(f"{kind.name} {name!r}: a name is letters, digits and _")
    if module == "__main__":
        raise PluginError(
            f"{kind.name} {name!r}: is defined in the program itself, which workers cannot import; possible: a module "
            "of its own, named in `plugins`"
        )
    if not (isinstance(parameters, type) and issubclass(parameters, Parameters)):
        raise PluginError(f"{kind.name} {name!r}: {parameters!r} is not a subclass of kd_sweep's Parameters")
    needed = [key for key, field in parameters.model_fields.items() if field.is_required()]
    if needed:
        raise PluginError(f"{kind.name} {name!r}: parameter {needed[0]!r} has no default")
    if not callable(item):
        raise PluginError(f"{kind.name} {name!r}: {item!r} is neither a function nor a class")


def _origin(item: Any) -> str:
    return f"{item.__module__}.{getattr(item, '__qualname__', item)}"

"""The source of a plug-in: which files it is made of, and their digest.

An entry's result may change with any line of the file that registers it, and of the files which that one imports. What
counts are those that belong to the plug-in: of its own top-level package, or, where it is not installed, of its folder.
"""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from kd_sweep.catalogue.entries import Entry

_DIGEST_LENGTH = 16
_INSTALLED = ("site-packages", "dist-packages")
_OWN_PACKAGE = __name__.partition(".")[0]


def entry_source(entry: Entry) -> str:
    """Return the declared version of a plug-in's entry, and the digest of its source: `1+6f0c…`."""
    return f"{entry.version}+{module_digest(entry.module)}"


@cache
def module_digest(module: str) -> str:
    """Return the digest of a module's files, as they were when it was first asked for in this process."""
    return digest_of_files({name: path.read_bytes() for name, path in source_files(module).items()})


def digest_of_files(files: Mapping[str, bytes]) -> str:
    """Return the digest of names and contents."""
    lines = (f"{name} {hashlib.sha256(content).hexdigest()}\n" for name, content in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:_DIGEST_LENGTH]


def source_files(module: str) -> dict[str, Path]:
    """Return the files that a module is made of by the names of their modules: its own, and what it imports of it."""
    folder = plugin_folder(module)
    files: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in files or not _belongs(name, module, folder):
            continue
        path = _file_of(name)
        if path is not None:
            files[name] = path
            waiting += [*_parents(name), *_imported(name, path)]
    return files


def plugin_folder(module: str) -> Path | None:
    """Return the folder that has the top-level package of a module; None where it has no file in Python."""
    package = module.partition(".")[0]
    top = _file_of(package)
    if top is None:
        return next((Path(folder).parent for folder in _folders_of(package)), None)
    return top.parents[1] if top.name == "__init__.py" else top.parent


def _belongs(name: str, module: str, folder: Path | None) -> bool:
    top = name.partition(".")[0]
    if top == module.partition(".")[0]:
        return True
    if folder is None or _is_installed(folder) or top == _OWN_PACKAGE or top in sys.stdlib_module_names:
        return False
    path = _file_of(top)
    # A folder may have a virtual environment in it, whose packages are no part of the plug-in.
    return path is not None and folder in path.parents and not _is_installed(path)


def _is_installed(path: Path) -> bool:
    return any(part in _INSTALLED for part in path.parts)


def _parents(name: str) -> list[str]:
    """Return the packages that are imported before a module: of `a.b.c` `a` and `a.b`."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _imported(name: str, path: Path) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _file_of(module: str) -> Path | None:
    """Return the file of a module; None where it is none, or is not written in Python."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    origin = None if spec is None else spec.origin
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def _folders_of(package: str) -> list[str]:
    """Return the folders of a package without a file of its own."""
    spec = importlib.util.find_spec(package)
    return list(spec.submodule_search_locations or ()) if spec is not None else []

"""The script of the page: its modules, which are files of the repository, one behind the other in a single module.

A browser without a cache asks for each file by itself; of fifty small ones that is most of what a visit costs. A module
becomes a block of its own: what it imports are constants, what it exports an object by its path.
"""

import posixpath
import re
from collections.abc import Mapping

_IMPORT = re.compile(r'^import \{([^}]*)\} from "(\.[^"]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async function|function|const|class) (\w+))", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)
_RENAMED = re.compile(r"\bas\b")


def page_script(modules: Mapping[str, str], first: str) -> str:
    """Return one module that does what a module and all that it imports do.

    Args:
        modules: their texts by path. Of others' modules that are imported nothing is changed: they stay imports.
        first: the path of the one to begin with.

    Raises:
        ValueError: one has an import or export that is not of the two forms that ours have, or they import each other
            in a circle.
    """
    order: list[str] = []
    _visit(first, modules, order, ())
    foreign = [path for path in order if path not in modules]
    imports = [f'import * as foreign{number} from "./{path}";' for number, path in enumerate(foreign)]
    known = [f'"{path}": foreign{number}' for number, path in enumerate(foreign)]
    blocks = [_block(path, modules[path]) for path in order if path in modules]
    return "\n".join([*imports, f"const modules = {{ {', '.join(known)} }};", *blocks, ""])


def _visit(path: str, modules: Mapping[str, str], order: list[str], above: tuple[str, ...]) -> None:
    """Add a module behind all that it imports."""
    if path in above:
        raise ValueError(f"{path}: is imported by what it imports: {' > '.join([*above, path])}")
    if path in order:
        return
    for match in _IMPORT.finditer(modules.get(path, "")):
        _visit(_target(path, match[2]), modules, order, (*above, path))
    order.append(path)


def _target(path: str, relative: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), relative))


def _block(path: str, text: str) -> str:
    def imported(match: re.Match[str]) -> str:
        return f'const {{{_RENAMED.sub(":", match[1])}}} = modules["{_target(path, match[2])}"];'

    exported = [match[2] for match in _EXPORT.finditer(text)]
    text = _EXPORT.sub(r"\1", _IMPORT.sub(imported, text))
    if other := _OTHER.search(text):
        raise ValueError(f"{path}: {other[0]!r} is no import or export as the page's modules have them")
    return f'{{ // {path}\n{text}modules["{path}"] = {{ {", ".join(exported)} }};\n}}'

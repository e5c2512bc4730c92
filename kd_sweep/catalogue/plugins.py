"""The loading of plug-ins: modules that a study names, and those of installed packages that announce themselves."""

import importlib
import importlib.metadata
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from kd_sweep.catalogue.entries import registered_by
from kd_sweep.catalogue.source import plugin_folder
from kd_sweep.errors import PluginError

ENTRY_POINTS = "kd_sweep"
"""The group of entry points under which installed packages name the module that registers their entries."""


def load_plugins(modules: Sequence[str], folder: Path | None = None) -> None:
    """Import the modules, which register their entries.

    Args:
        modules: their names.
        folder: of the study file; searched after the folders where Python finds modules.

    Raises:
        UnloadablePluginError: a module is missing, raises, or registers nothing.
    """
    if folder is not None and str(folder.absolute()) not in sys.path:
        sys.path.append(str(folder.absolute()))
    for index, module in enumerate(modules):
        try:
            _load(module, folder)
        except PluginError as error:
            raise UnloadablePluginError(str(error), index) from None


class UnloadablePluginError(PluginError):
    """One of the modules that a study names is no plug-in: that at ``index``, from 0."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


def load_installed(package: str) -> bool:
    """Import the plug-in that an installed package announces; return False where there is none of that name.

    Raises:
        PluginError: it raises, or registers nothing.
    """
    module = _announced().get(package)
    if module is not None:
        _load(module, None)
    return module is not None


@cache
def _announced() -> dict[str, str]:
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return {point.module.partition(".")[0]: point.module for point in points}


def _load(module: str, folder: Path | None) -> None:
    try:
        importlib.import_module(module)
    except PluginError:
        raise
    except Exception as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name in (module, module.partition(".")[0])
        if missing or (isinstance(error, ValueError | TypeError) and not module.replace(".", "").isidentifier()):
            where = "where Python finds modules" + (f", and not in {folder.absolute()}" if folder is not None else "")
            raise PluginError(
                f"there is no module {module!r} {where}; possible: install it, or set PYTHONPATH"
            ) from None
        raise PluginError(f"module {module!r} cannot be imported: {described(error)}") from error
    _check_folder(module, folder)
    if not registered_by(module):
        raise PluginError(
            f"module {module!r} registers nothing; it has to use one of the decorators of kd_sweep, such as @loss"
        )


def _check_folder(module: str, folder: Path | None) -> None:
    """Refuse a module of that name that was imported from another study's folder: a process can have one of them."""
    if folder is None:
        return
    top = module.partition(".")[0]
    own = folder.absolute()
    imported = plugin_folder(module)
    if imported is None or imported == own:
        return
    if (own / f"{top}.py").exists() or (own / top / "__init__.py").exists():
        raise PluginError(f"module {module!r} is that of {imported}, and {own} has another of this name; rename one")


def described(error: BaseException) -> str:
    """Return an exception of a plug-in on one line: class, message, and the line of the plug-in's own file."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename]
    line = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{line}"

"""The loading of plug-ins: modules that a study names, and those of installed packages that announce themselves."""

import importlib
import importlib.metadata
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from kd_sweep.catalogue.entries import plugin_packages, registered_by
from kd_sweep.catalogue.source import plugin_folder
from kd_sweep.errors import PluginError

_OWN_FOLDER = str(Path(__file__).parents[1])
ENTRY_POINTS = "kd_sweep"
"""The group of entry points under which installed packages name the module that registers their entries."""
RAISED = (Exception, SystemExit)
"""What the call of a plug-in may end with that is its mistake: `sys.exit` too, which would end a worker in silence."""


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
    except RAISED as error:
        top = module.partition(".")[0]
        missing = isinstance(error, ModuleNotFoundError) and error.name in (module, top)
        if missing or (isinstance(error, ValueError | TypeError) and not module.replace(".", "").isidentifier()):
            where = "where Python finds modules" + (f", and not in {folder.absolute()}" if folder is not None else "")
            raise PluginError(
                f"there is no module {module!r} {where}; possible: install it, or set PYTHONPATH"
            ) from None
        raise PluginError(f"module {module!r} cannot be imported: {described(error, top)}") from error
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


def described(error: BaseException, package: str = "") -> str:
    """Return an exception of a plug-in on one line: class, message, and the line of the plug-in's own file.

    Args:
        error: the exception.
        package: of a plug-in that is not loaded yet.
    """
    frames = [(frame.f_code.co_filename, number) for frame, number in traceback.walk_tb(error.__traceback__)]
    elsewhere = (at for at in reversed(frames) if "importlib" not in at[0] and not at[0].startswith(_OWN_FOLDER))
    line = origin(error, package) or next(elsewhere, None)
    where = f" ({Path(line[0]).name}, line {line[1]})" if line is not None else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"


def origin(error: BaseException, package: str = "") -> tuple[str, int] | None:
    """Return the file and line of a plug-in from which an exception came; None where it came from none."""
    packages = plugin_packages() | {package}
    own = [
        (frame.f_code.co_filename, number)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] in packages
    ]
    return own[-1] if own else None

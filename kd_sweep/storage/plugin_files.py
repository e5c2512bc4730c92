"""The plug-ins of a study in its folder, and their loading from there."""

import atexit
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from kd_sweep.catalogue.bundle import PluginBundle
from kd_sweep.catalogue.plugins import load_plugins
from kd_sweep.errors import PluginError
from kd_sweep.storage.root import Root
from kd_sweep.storage.temporary_folders import scratch_folder

_unpacked = ExitStack()
"""Of the folders that modules of this process were imported from."""
atexit.register(_unpacked.close)


def plugin_file(digest: str) -> str:
    """Return the name of the file with the plug-ins of this digest, in the study's folder."""
    return f"plugins-{digest}.zip"


def write_plugins(study: Root, modules: Sequence[str], digest: str) -> None:
    """Keep the source of the plug-ins in the study's folder, unless it is there.

    Args:
        study: the study's folder.
        modules: those that the study names; they are loaded.
        digest: of their bundle, as it was when the study was checked.

    Raises:
        PluginError: a file has been edited since.
    """
    if study.exists(plugin_file(digest)):
        return
    bundle = PluginBundle.of_modules(modules)
    if bundle.digest != digest:
        raise PluginError(
            f"plugins: a file of {', '.join(modules)} was edited while the study was launched; launch again"
        )
    study.write_bytes(plugin_file(digest), bundle.zipped())


def load_stored_plugins(study: Root, modules: Sequence[str], digest: str) -> None:
    """Import the plug-ins of a study as its folder has them.

    Args:
        study: the study's folder.
        modules: those that it names.
        digest: of their bundle.

    Raises:
        PluginError: a module cannot be imported here, or another version of it has been.
        CorruptFileError: the file is damaged.
        FileNotFoundError: there is none.
    """
    if not any(module in sys.modules for module in modules):
        content = study.read_bytes(plugin_file(digest))
        load_bundle(PluginBundle.of_zip(content, digest, study.location_of(plugin_file(digest))), modules)
    loaded = PluginBundle.of_modules(modules).digest
    if loaded != digest:
        raise PluginError(
            f"plugins: this process has another version of {', '.join(modules)} than the study in {study}; start a new "
            "process"
        )


def load_bundle(bundle: PluginBundle, modules: Sequence[str]) -> None:
    """Import modules from a bundle, whatever other module of that name is installed.

    Raises:
        PluginError: one of them cannot be imported here.
    """
    folder = _unpacked.enter_context(scratch_folder("plugins"))
    bundle.unpack(folder)
    sys.path.insert(0, str(folder))
    load_plugins(modules)

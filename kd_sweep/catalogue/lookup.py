"""The entry that a name stands for, and what to say where there is none."""

from kd_sweep.catalogue.entries import Entry, entry_names, registered
from kd_sweep.catalogue.kinds import Kind
from kd_sweep.catalogue.plugins import load_installed
from kd_sweep.errors import alternatives


def entry_of(kind: Kind, name: str) -> Entry | None:
    """Return the entry of this name: built in, of a plug-in that is loaded, or of an installed one, which is loaded.

    Raises:
        PluginError: the installed plug-in cannot be imported.
    """
    entry = registered(kind, name)
    package, colon, _ = name.partition(":")
    if entry is None and colon and load_installed(package):
        entry = registered(kind, name)
    return entry


def unknown(kind: Kind, name: str) -> str:
    """Return the rule that is broken by a name that stands for no entry, with what is possible."""
    package, colon, _ = name.partition(":")
    if colon and not any(entry.startswith(f"{package}:") for entry in entry_names(kind)):
        libraries = ", ".join(f"{library}:NAME" for library in kind.libraries)
        return (
            f"{name!r} is not an option: no plug-in {package!r} that has a {kind.name} is loaded; possible: "
            f"{libraries and f'{libraries}, or '}name its module in `plugins`, such as plugins: [{package}]"
        )
    return f"{name!r} is not an option, {alternatives(name, entry_names(kind))}"

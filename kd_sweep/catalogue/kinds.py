"""The kinds of entries: what can be selected by name, and the folder of those that are built in."""

from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of entries."""

    name: str
    """In messages: `loss`."""
    folder: str
    """The package whose modules are the built-in entries. A module's name is its entry's, unless it begins with `_`."""


LOSS = Kind("loss", "kd_sweep.distill.losses")

"""The entries of plug-ins that a test registers, which others are not to see."""

from collections.abc import Iterator
from contextlib import contextmanager

from kd_sweep.catalogue import entries


@contextmanager
def own_entries() -> Iterator[None]:
    """Take back what is registered in the block, but for what is built in and is registered when it is imported."""
    before = dict(entries._entries)
    try:
        yield
    finally:
        for key, entry in list(entries._entries.items()):
            if not entry.is_built_in:
                del entries._entries[key]
        entries._entries.update(before)

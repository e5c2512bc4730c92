"""What Ray and Tune read from the environment, for as long as it is ours."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def environment(settings: Mapping[str, str], *, over: bool = False) -> Iterator[None]:
    """Set these variables while the block runs; those that somebody has set already only with ``over``."""
    earlier = {name: os.environ.get(name) for name in settings if over or name not in os.environ}
    os.environ.update({name: settings[name] for name in earlier})
    try:
        yield
    finally:
        for name, value in earlier.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

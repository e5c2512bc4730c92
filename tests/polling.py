"""Waiting for what another thread or process is about to do."""

import time
from collections.abc import Callable

import pytest


def until(is_so: Callable[[], object], *, seconds: float = 120, interval_s: float = 0.05) -> None:
    """Return once something holds; fail the test after so long without it."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            pytest.fail(f"not so after {seconds:g} s")
        time.sleep(interval_s)

"""The watch over the Ray under a running sweep: Tune would wait for a dead one for ever."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kd_sweep.errors import ClusterLostError

if TYPE_CHECKING:
    from kd_sweep.driver.ray.private import Daemons

NODE_POLL_S = 5.0
"""How often a cluster is asked whether this driver's node still belongs to it."""

DAEMONS_POLL_S = 1.0
STUCK_S = 5.0
"""A driver that has not noticed so long after its Ray has died waits inside Ray, which would kill it after a minute."""

Check = Callable[[], None]


def local_watch() -> Check:
    """Return a function that raises `ClusterLostError` when a daemon of this process's own Ray has ended."""
    from kd_sweep.driver.ray.private import own_daemons

    daemons = own_daemons()

    def check() -> None:
        if (end := first_end(daemons)) is not None:
            raise ClusterLostError(f"Ray on this machine has died: {end}")

    return check


def first_end(daemons: "Daemons") -> str | None:
    """Return how one of these has ended, as ``its process raylet was ended by SIGKILL``; None while all of them run."""
    for name, process in daemons.items():
        if (code := process.poll()) is not None:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            return f"its process {name} {how}"
    return None


def node_watch(address: str) -> Check:
    """Return a function that raises `ClusterLostError` when this driver's node no longer belongs to the cluster."""
    import ray

    node_id = ray.get_runtime_context().get_node_id()
    due = time.monotonic() + NODE_POLL_S

    def check() -> None:
        nonlocal due
        if time.monotonic() < due:
            return
        due = time.monotonic() + NODE_POLL_S
        if any(node["NodeID"] == node_id and not node["Alive"] for node in ray.nodes()):
            raise ClusterLostError(f"--address {address}: Ray on this machine has died, or was cut off from the rest")

    return check


@contextmanager
def ending_when_stuck(check: Check, last_words: Callable[[str], None]) -> Iterator[None]:
    """End this process where `check` raises and the block still runs `STUCK_S` later, as after a kill.

    Args:
        check: raises `ClusterLostError`; called in a thread.
        last_words: tells the user why; called in that thread.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(DAEMONS_POLL_S):
            try:
                check()
            except ClusterLostError as death:
                if not ended.wait(STUCK_S):
                    last_words(str(death))
                    os._exit(1)
                return

    threading.Thread(target=watch, name="watch over Ray", daemon=True).start()
    try:
        yield
    finally:
        ended.set()

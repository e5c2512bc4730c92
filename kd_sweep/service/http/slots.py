"""Slots for what takes long: some run, a few wait, all others are refused, so that threads are left for the rest."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kd_sweep.service.http.answers.refusals import too_many
from kd_sweep.service.http.listening.returned_memory import give_back
from kd_sweep.tables.queries.sql import MAX_THREADS


class Slots:
    """Lets a few blocks run at once.

    Args:
        number: of blocks that run.
        waiting: of blocks that wait for their turn.
        wait_s: how long they do.
        what: they are, for messages: ``statements``.
        behind: is done behind each block, before the next one.
    """

    def __init__(
        self, number: int, waiting: int, wait_s: float, what: str, behind: Callable[[], None] = lambda: None
    ) -> None:
        self._behind = behind
        self._running = threading.BoundedSemaphore(number)
        self._admitted = threading.BoundedSemaphore(number + waiting)
        self._wait_s = wait_s
        self._refusal = f"{what}: {number} run and {waiting} wait already, as many as this server takes"

    @contextmanager
    def one(self) -> Iterator[None]:
        """Run the block in a slot; `RefusedRequestError` with 429 where there is none."""
        if not self._admitted.acquire(blocking=False):
            raise too_many(self._refusal, round(self._wait_s))
        try:
            if not self._running.acquire(timeout=self._wait_s):
                raise too_many(self._refusal, round(self._wait_s))
            try:
                yield
            finally:
                self._behind()
                self._running.release()
        finally:
            self._admitted.release()


VIEWS = Slots(max(1, len(os.sched_getaffinity(0)) // MAX_THREADS), 24, 20.0, "views", give_back)
"""Of what pages show. A view takes 0.1 to 0.2 GB while it is computed, a second at most, and all of `MAX_THREADS`."""

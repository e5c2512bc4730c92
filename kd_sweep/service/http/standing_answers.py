"""Answers that stand for a while: computed once for all who ask, and the more rarely the longer that takes."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kd_sweep.service.http.listening.returned_memory import give_back_at_times

SHARE = 0.05
"""Of the time, that may go into computing one answer anew while its study runs."""
LONGEST_S = 60.0
"""So long an answer may stand at most."""
_REMEMBERED = 500
_REMEMBERED_BYTES = 32 * 1024**2
"""Answers that are kept, the latest used, and the `nbytes` together of those that are large enough to have any."""


Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Standing(Generic[Answer]):
    """An answer and how new it is."""

    answer: Answer
    tag: str
    """Of the tables that it was computed from."""
    is_behind: bool = False
    """Whether the tables have changed since."""
    renewed_in_s: float = 0.0
    """When it may be computed anew."""


class StandingAnswers:
    """The answers that a service has given."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, tuple[Standing[Any], float]] = OrderedDict()
        self._computing: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, tag: str, compute: Callable[[], Answer], *, may_stand: bool) -> Standing[Answer]:
        """Return the answer to a question, computed now or before.

        Whoever asks while it is computed gets the one before, or waits where there is none.

        Args:
            key: names the question.
            tag: of the tables as they are now.
            compute: returns the answer.
            may_stand: whether one from earlier tables will do for a while: more changes follow, and are asked for.
        """
        if (standing := self._standing(key, tag, may_stand=may_stand)) is not None:
            return standing
        with self._lock:
            turn = self._computing.setdefault(key, threading.Lock())
        is_first = turn.acquire(blocking=False)
        if not is_first and may_stand and (known := self._known.get(key)) is not None:
            return Standing(known[0].answer, known[0].tag, True, 1.0)
        if not is_first:
            turn.acquire()
        try:
            if (standing := self._standing(key, tag, may_stand=may_stand)) is not None:
                return standing
            return self._keep(key, tag, compute)
        finally:
            turn.release()
            with self._lock:
                self._computing.pop(key, None)

    def _standing(self, key: Hashable, tag: str, *, may_stand: bool) -> Standing[Any] | None:
        with self._lock:
            if (known := self._known.get(key)) is None:
                return None
            self._known.move_to_end(key)
        standing, until = known
        left_s = max(0.0, until - time.monotonic())
        if standing.tag != tag and (left_s == 0.0 or not may_stand):
            return None
        return Standing(standing.answer, standing.tag, standing.tag != tag, left_s if may_stand else 0.0)

    def _keep(self, key: Hashable, tag: str, compute: Callable[[], Answer]) -> Standing[Answer]:
        began = time.monotonic()
        answer = compute()
        now = time.monotonic()
        give_back_at_times()
        stands_s = min((now - began) / SHARE, LONGEST_S)
        standing = Standing(answer, tag, renewed_in_s=stands_s)
        with self._lock:
            self._known[key] = (standing, now + stands_s)
            self._known.move_to_end(key)
            while len(self._known) > 1 and (len(self._known) > _REMEMBERED or self._num_bytes() > _REMEMBERED_BYTES):
                self._known.popitem(last=False)
        return standing

    def _num_bytes(self) -> int:
        return sum(getattr(standing.answer, "nbytes", 0) for standing, _ in self._known.values())

"""Answers that stand for a while: computed once for all who ask, and the more rarely the longer that takes."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kd_sweep.errors import KdSweepError
from kd_sweep.service.http.listening.returned_memory import give_back_at_times

_LOG = logging.getLogger(__name__)
SHARE = 0.05
"""Of the time, that may go into computing one answer anew while its study runs."""
LONGEST_S = 60.0
"""So long an answer may stand at most."""
_SOON_S = 1.0
"""When to ask again for an answer that is being computed."""
_LAST_S = 3.0
"""How long those that are being computed may take when the service ends."""
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
    age_s: float = 0.0
    """Since it was computed."""


class StandingAnswers:
    """The answers that a service has given."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, tuple[Standing[Any], float]] = OrderedDict()
        self._computing: dict[Hashable, threading.Lock] = {}
        self._renewals: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def get(self, key: Hashable, tag: str, compute: Callable[[], Answer], *, may_stand: bool) -> Standing[Answer]:
        """Return the answer to a question, computed now or before.

        Whoever asks while it is computed gets the one before, or waits where there is none. One that has stood as long
        as it may is renewed behind whoever asks for it, until it has stood as long once more.

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
        known = self._known.get(key) if may_stand else None
        if known is not None and (not is_first or time.monotonic() < known[1] + known[0].renewed_in_s):
            if is_first:
                self._renew(turn, key, tag, compute)
            return _at(known, True, _SOON_S)
        if not is_first:
            turn.acquire()
        try:
            if (standing := self._standing(key, tag, may_stand=may_stand)) is not None:
                return standing
            return self._keep(key, tag, compute)
        finally:
            self._release(turn, key)

    def end(self) -> None:
        """Wait for what is being computed behind answers: a thread in DuckDB would abort a process that ends."""
        with self._lock:
            renewals = list(self._renewals)
        until = time.monotonic() + _LAST_S
        for renewal in renewals:
            renewal.join(max(0.0, until - time.monotonic()))

    def _renew(self, turn: threading.Lock, key: Hashable, tag: str, compute: Callable[[], Answer]) -> None:
        """Compute an answer in a thread, whose turn it is; a failure is that of whoever asks later."""

        def work() -> None:
            try:
                self._keep(key, tag, compute)
            except KdSweepError as error:
                _LOG.info("an answer was not renewed: %s", error)
            except Exception:
                _LOG.exception("an answer was not renewed")
            finally:
                self._release(turn, key)
                with self._lock:
                    self._renewals.discard(threading.current_thread())

        renewal = threading.Thread(target=work, name="kd_sweep renewal", daemon=True)
        with self._lock:
            self._renewals.add(renewal)
        renewal.start()

    def _release(self, turn: threading.Lock, key: Hashable) -> None:
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
        return _at(known, standing.tag != tag, left_s if may_stand else 0.0)

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


def _at(known: tuple[Standing[Answer], float], is_behind: bool, renewed_in_s: float) -> Standing[Answer]:
    """Return an answer that is kept, with the end of its time, as it is now."""
    standing, until = known
    age_s = time.monotonic() - (until - standing.renewed_in_s)
    return Standing(standing.answer, standing.tag, is_behind, renewed_in_s, age_s)

"""The limit on wrong tokens: so many from one address in a minute, and then a pause is asked for."""

import threading
import time
from collections import OrderedDict, deque

ALLOWED = 20
WINDOW_S = 60.0
_MOST_ADDRESSES = 10_000
"""Of which wrong tokens are remembered; the one that was silent longest is forgotten first."""


class BadTokens:
    """Counts the wrong tokens of each address. Right tokens are never refused because of others' wrong ones."""

    def __init__(self, allowed: int = ALLOWED, window_s: float = WINDOW_S) -> None:
        self._allowed, self._window_s = allowed, window_s
        self._times: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, address: str, now: float | None = None) -> int:
        """Count a wrong token; return the seconds until the next may be tried, 0 where it may be at once."""
        now = time.monotonic() if now is None else now
        with self._lock:
            times = self._times.setdefault(address, deque(maxlen=self._allowed + 1))
            self._times.move_to_end(address)
            while times and now - times[0] > self._window_s:
                times.popleft()
            times.append(now)
            if len(self._times) > _MOST_ADDRESSES:
                self._times.popitem(last=False)
            return 0 if len(times) <= self._allowed else max(1, round(self._window_s - (now - times[0])))

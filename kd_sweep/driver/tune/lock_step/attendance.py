"""Attendance in a process that trials share: who asks for an epoch, and for whom the others wait, and how long."""

import time
from collections.abc import Callable
from dataclasses import dataclass

PATIENCE_S = 10.0
"""So long do trials wait for one that does not ask: its own process has died, or the driver is busy."""
START_PATIENCE_S = 60.0
"""So long do the first trials wait for those whose processes are still starting, which takes seconds, on a busy machine
half a minute. They may also be training teachers."""


@dataclass
class _Presence:
    trial_id: str | None
    """None between two trials: the next one may be of any stream."""
    stream_id: str | None
    asks: bool
    since: float
    """When it asked, or was answered."""


class Attendance:
    """The callers of a shared process: the processes of trials, each of which runs one trial after another.

    A caller is here from when it first asks until it leaves, or is silent for too long.

    Args:
        num_expected: so many callers will come; the first ones wait for them, for a while.
        clock: returns seconds.
    """

    def __init__(self, num_expected: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._num_missing, self._clock = num_expected, clock
        self._here: dict[str, _Presence] = {}
        self._began: float | None = None

    def asks(self, caller: str, trial_id: str, stream_id: str) -> None:
        """Note that a caller waits for the next epoch of a trial. No other caller has that trial any more."""
        now = self._clock()
        self._began = now if self._began is None else self._began
        for other in [name for name, one in self._here.items() if one.trial_id == trial_id and name != caller]:
            del self._here[other]
        if caller not in self._here:
            self._num_missing -= 1
        self._here[caller] = _Presence(trial_id, stream_id, asks=True, since=now)

    def answered(self, caller: str, *, is_last: bool) -> None:
        """Note that a caller waits no more. After its trial's last epoch it is expected to come with another one."""
        if caller in self._here:
            before = self._here[caller]
            trial_id, stream_id = (None, None) if is_last else (before.trial_id, before.stream_id)
            self._here[caller] = _Presence(trial_id, stream_id, asks=False, since=self._clock())

    def leaves(self, caller: str) -> None:
        """Note that a caller will not come again."""
        self._here.pop(caller, None)

    def streams_to_run(self) -> list[list[str]]:
        """Return the callers of each stream of which all ask, those first who have waited longest.

        Empty while somebody is waited for who may join any of them. Who has been silent for too long is here no more.
        """
        now = self._clock()
        self._here = {name: one for name, one in self._here.items() if one.asks or now - one.since < PATIENCE_S}
        if self._began is not None and now - self._began >= START_PATIENCE_S:
            self._num_missing = 0
        if self._num_missing > 0 or any(one.trial_id is None for one in self._here.values()):
            return []
        by_stream: dict[str, list[str]] = {}
        for name, one in self._here.items():
            by_stream.setdefault(str(one.stream_id), []).append(name)
        whole = [names for names in by_stream.values() if all(self._here[name].asks for name in names)]
        return sorted(whole, key=lambda names: min(self._here[name].since for name in names))

    @property
    def trials(self) -> dict[str, str]:
        """The trials of those who are here, by their callers; of none that is between two."""
        return {name: one.trial_id for name, one in self._here.items() if one.trial_id is not None}

    def patience_left_s(self) -> float | None:
        """Return after how many seconds there may be somebody to run though nobody has come; None where there won't."""
        ends = [one.since + PATIENCE_S for one in self._here.values() if not one.asks]
        if self._began is not None and self._num_missing > 0:
            ends.append(self._began + START_PATIENCE_S)
        return max(0.0, min(ends) - self._clock()) if ends else None

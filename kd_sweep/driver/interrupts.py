"""Interrupts of a sweep: SIGINT and SIGTERM end it at the next safe point, a second signal ends it at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SweepInterrupted(BaseException):
    """A signal stops the sweep. Not an `Exception`, so that nothing between here and there swallows it."""


class Interrupt:
    """Whether a signal has come, and which, and whether anything else ends the sweep."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._watches: list[Callable[[], None]] = []

    def watch(self, check: Callable[[], None]) -> None:
        """From now on call `check`, which raises to end the sweep, at every safe point too."""
        self._watches.append(check)

    def check(self) -> None:
        """Raise `SweepInterrupted` if a signal has come, or whatever a watch raises."""
        if self.received is not None:
            raise SweepInterrupted(self.received.name)
        for check in self._watches:
            check()

    def check_armed(self) -> None:
        """Take the signals again, from a library that took them for itself, and then do as `check`."""
        self.arm()
        self.check()

    def arm(self) -> None:
        """Take the signals, also from a library that took them for itself. Python lets only the main thread do so."""
        if not _is_main_thread():
            return
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise SweepInterrupted(signal.Signals(number).name)
        self.received = signal.Signals(number)


@contextmanager
def watching_signals() -> Iterator[Interrupt]:
    """Collect SIGINT and SIGTERM while the block runs, and put the earlier handlers back after it.

    In a thread other than the main one they stay with whoever has them.
    """
    interrupt = Interrupt()
    if not _is_main_thread():
        yield interrupt
        return
    earlier = {number: signal.getsignal(number) for number in SIGNALS}
    interrupt.arm()
    try:
        yield interrupt
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise `SweepInterrupted` wherever the main thread is, until the block ends.

    It is for the main thread of a process whose parent may have blocked them. What `watching_signals` does within it
    comes first.
    """
    earlier = {number: signal.signal(number, _raise) for number in SIGNALS}
    unblock_signals()
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def unblock_signals() -> None:
    """Let SIGINT and SIGTERM come to this thread: whoever has started this process may have blocked them for it."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _raise(number: int, _frame: FrameType | None) -> None:
    raise SweepInterrupted(signal.Signals(number).name)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()

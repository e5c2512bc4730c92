"""SIGINT and SIGTERM ask the sweep to end at the next safe point; a second signal ends it at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class SweepInterrupted(BaseException):
    """The sweep was asked to stop. Not an `Exception`, so that nothing between here and there swallows it."""


class Interrupt:
    """Whether a signal has come, and which."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def check(self) -> None:
        """Raise `SweepInterrupted` if a signal has come."""
        if self.received is not None:
            raise SweepInterrupted(self.received.name)


@contextmanager
def watching_signals() -> Iterator[Interrupt]:
    """Collect SIGINT and SIGTERM while the block runs, and put the earlier handlers back after it."""
    interrupt = Interrupt()

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if interrupt.received is not None:
            raise SweepInterrupted(signal.Signals(number).name)
        interrupt.received = signal.Signals(number)

    earlier = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)

"""The line on standard error that tells a person at a terminal what is being done while it takes long."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

DELAY_S = 0.5
"""What is over sooner needs no word."""

PLAIN_DELAY_S = 10.0
"""The same where no terminal is: a log is for what has happened."""

_is_shown = False


@contextlib.contextmanager
def shown() -> Iterator[None]:
    """Let `doing` show what it is given while the block runs: the command line does, a library keeps silent."""
    global _is_shown
    before, _is_shown = _is_shown, True
    try:
        yield
    finally:
        _is_shown = before


@contextlib.contextmanager
def doing(what: str, *, plainly: bool = False) -> Iterator[None]:
    """Show on standard error what the block does, from half a second on until it ends, if it lies within `shown`.

    Blocks may lie within each other: the innermost is named, with the seconds since the outermost began. Nothing else
    may draw on the terminal meanwhile; end the block before a display with bars begins.

    Args:
        what: a phrase such as ``reading the tables``.
        plainly: whether to print it, after `PLAIN_DELAY_S`, where no terminal is; else nothing is printed there.
    """
    if not _is_shown or threading.current_thread() is not threading.main_thread():
        yield
        return
    # While the line is drawn, standard error is what rich has put in its place: with rich 13 that is no terminal.
    if not (_LINE.is_there or sys.stderr.isatty()):
        with _plain_line(what) if plainly else contextlib.nullcontext():
            yield
        return
    with _LINE.naming(what):
        yield


@contextlib.contextmanager
def _plain_line(what: str) -> Iterator[None]:
    timer = threading.Timer(PLAIN_DELAY_S, lambda: print(what, file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Line:
    """The one line of this process."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._began = 0.0
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._live: Live | None = None

    @property
    def is_there(self) -> bool:
        """Whether something is named now."""
        return bool(self._names)

    @contextlib.contextmanager
    def naming(self, what: str) -> Iterator[None]:
        self._names.append(what)
        if len(self._names) == 1:
            self._begin()
        try:
            yield
        finally:
            if len(self._names) == 1:
                self._end()
            self._names.pop()

    def _begin(self) -> None:
        self._began = time.monotonic()
        self._timer = threading.Timer(DELAY_S, self._show)
        self._timer.daemon = True
        self._timer.start()

    def _show(self) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        with self._lock:
            if self._timer is None:
                return  # it has ended while rich was imported
            # Standard output is left alone: it is the answer, and may go to the same terminal or elsewhere.
            self._live = Live(
                console=console,
                get_renderable=self._line,
                refresh_per_second=8,
                transient=True,
                redirect_stdout=False,
            )
            self._live.start()

    def _line(self) -> "RenderableType":
        from rich.spinner import Spinner
        from rich.text import Text

        elapsed_s = time.monotonic() - self._began
        name = self._names[-1] if self._names else ""
        line = Text(f"{name} ({elapsed_s:.0f} s)", no_wrap=True, overflow="ellipsis")
        spinner = Spinner("line", line)
        spinner.start_time = 0.0  # a new one is made for each frame: its phase is that of the clock
        return spinner

    def _end(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._live is not None:
                self._live.stop()
                self._live = None


_LINE = _Line()

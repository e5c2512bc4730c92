"""The writer of the log, in a thread: nobody waits for whoever reads it, or for a disk that is full."""

import contextlib
import logging
import os
import queue
import threading
from logging.handlers import QueueHandler

MOST_LINES = 5000
"""That wait to be written. Further ones are dropped, and counted."""
_LAST_LINES_S = 2.0
"""So long the last lines may take when the process ends."""


class LogWriter(QueueHandler):
    """A handler that writes lines of its formatter to a file descriptor, and holds up no one who logs.

    Args:
        descriptor: of the log.
    """

    def __init__(self, descriptor: int) -> None:
        self._lines: queue.Queue[logging.LogRecord | threading.Event | None] = queue.Queue(MOST_LINES)
        super().__init__(self._lines)
        self._descriptor = descriptor
        self._num_dropped = 0
        # Not by `sys.stderr`: the interpreter cannot end while a thread waits within that.
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def enqueue(self, record: logging.LogRecord) -> None:
        """Hand a record to the thread, or drop it."""
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self._num_dropped += 1

    def flush(self) -> None:
        """Wait until what was logged before is written, if that does not take long."""
        is_written = threading.Event()
        with contextlib.suppress(queue.Full):  # nobody reads them
            if self._thread.is_alive():
                self._lines.put(is_written, timeout=_LAST_LINES_S)
                is_written.wait(_LAST_LINES_S)

    def close(self) -> None:
        """Write the last lines, if that does not take long."""
        try:
            self._lines.put(None, timeout=_LAST_LINES_S)
            self._thread.join(_LAST_LINES_S)
        except queue.Full:  # nobody reads them
            pass
        super().close()

    def _write_all(self) -> None:
        while (record := self._lines.get()) is not None:
            if isinstance(record, threading.Event):
                record.set()
                continue
            self._write(record)
            if self._num_dropped:
                dropped, self._num_dropped = self._num_dropped, 0
                message = f"{dropped} lines of this log were dropped: they could not be written"
                lost = logging.LogRecord(__name__, logging.WARNING, "", 0, message, None, None)
                self._write(self.prepare(lost))

    def _write(self, record: logging.LogRecord) -> None:
        line = f"{record.getMessage()}\n".encode(errors="replace")
        try:
            while line:
                line = line[os.write(self._descriptor, line) :]
        except OSError:
            self._num_dropped += 1

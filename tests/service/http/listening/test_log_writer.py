"""The log in a pipe that nobody reads."""

import logging
import os

from kd_sweep.service.http.listening.log_writer import MOST_LINES, LogWriter


def test_nobody_waits_for_a_log_that_is_not_read_and_what_is_dropped_is_counted() -> None:
    reading, writing = os.pipe()
    writer = LogWriter(writing)
    number = 2 * MOST_LINES
    for line in range(number):
        writer.handle(logging.LogRecord("x", logging.INFO, "", 0, "%06d " + "x" * 200, (line,), None))
    with os.fdopen(reading) as log:
        lines = [log.readline() for _ in range(MOST_LINES)]
        dropped = next(line for line in lines if "were dropped" in line)
        kept = [int(line[:6]) for line in lines if "were dropped" not in line]
        assert kept[:100] == list(range(100))
        assert 0 < int(dropped.split()[0]) <= number - MOST_LINES
        writer.close()
    os.close(writing)

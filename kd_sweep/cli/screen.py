"""What commands write: to a terminal only what it can show and never obeys, without secrets."""

import io
import os
import sys
import traceback
from collections.abc import Iterable
from typing import Any, BinaryIO, NoReturn, cast

from kd_sweep.errors import UserError
from kd_sweep.redaction import redacted
from kd_sweep.tables.rendering.values import escaped


def say(text: str) -> None:
    """Print to standard output; `UserError` where that cannot be, as on a full disk."""
    try:
        print(_safe(text), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"standard output cannot be written: {error.strerror}") from None


def tell(text: str) -> None:
    """Print to standard error."""
    print(_safe(text), file=sys.stderr, flush=True)


def tell_mistake(text: str) -> None:
    """Print to standard error, on one line whatever the text quotes."""
    tell(text.replace("\n", "\\n"))


def tell_footnotes(results: Any, columns: Iterable[str], study: str | None = None) -> None:
    """Print what a reader has to know of columns that were shown."""
    from kd_sweep.tables.queries.views import footnotes

    for footnote in footnotes(results, columns, study):
        tell(footnote)


def tell_failure() -> None:
    """Print the traceback of the exception that is handled."""
    print(redacted(traceback.format_exc()), file=sys.stderr, end="", flush=True)


def print_table(table: Any, format: str, *, wide: bool = False, more: str = "--format csv") -> None:
    """Write a table to standard output; ``more`` says how to see what a terminal leaves out."""
    from kd_sweep.tables.rendering.formats import render

    render(table, format, screen(wide=wide), more=more)


def screen(*, wide: bool = False) -> BinaryIO:
    """Return standard output for `render`, with its encoding; ``wide``: as if it had no end to the right."""
    from kd_sweep.tables.rendering.formats import Screen

    return cast(BinaryIO, Screen(sys.stdout.buffer, encoding=sys.stdout.encoding, wide=wide))


def open_streams() -> None:
    """Make standard output and error writable whatever text comes.

    Raises:
        UserError: standard output is closed.
    """
    is_closed = sys.stdout is None
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123  it lives as long as the process
    if is_closed:
        raise UserError("standard output is closed; send it to a file or to /dev/null")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def leave(code: int) -> NoReturn:
    """End the process, also where DuckDB does not hear that it should, or the last words cannot be written."""
    sql = sys.modules.get("kd_sweep.tables.queries.sql")  # loading it takes longer than most commands
    try:
        sys.stdout.flush()
    except OSError:
        os._exit(code or 1)
    if sql is not None and sql.is_busy():
        os._exit(code)
    sys.exit(code)


def _safe(text: str) -> str:
    return escaped(redacted(text))

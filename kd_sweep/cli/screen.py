"""The output of commands: without secrets, and without characters that control a terminal."""

import io
import os
import sys
import traceback
from collections.abc import Iterable
from typing import Any, BinaryIO, NoReturn, cast

from kd_sweep.errors import UserError
from kd_sweep.redaction import redacted
from kd_sweep.tables.rendering.value_text import escaped


def print_output(text: str) -> None:
    """Print to standard output; `UserError` if that fails, as on a full disk."""
    try:
        print(_safe(text), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"standard output cannot be written: {error.strerror}") from None


def print_secret(secret: str) -> None:
    """Print a secret that is shown once and to whoever has asked for it, to standard output: it is not hidden."""
    print(secret, flush=True)


def print_message(text: str) -> None:
    """Print to standard error."""
    print(_safe(text), file=sys.stderr, flush=True)


def print_error(text: str) -> None:
    """Print to standard error, on one line whatever the text quotes."""
    print_message(text.replace("\n", "\\n"))


def print_footnotes(results: Any, columns: Iterable[str], study: str | None = None) -> None:
    """Print the footnotes of the columns that were printed."""
    from kd_sweep.tables.queries.footnotes import footnotes

    for footnote in footnotes(results, columns, study):
        print_message(footnote)


def print_traceback() -> None:
    """Print the traceback of the current exception."""
    print(redacted(traceback.format_exc()), file=sys.stderr, end="", flush=True)


def print_table(table: Any, format: str, *, wide: bool = False, more: str = "--format csv") -> None:
    """Write a table to standard output; ``more``: the options that show the columns a terminal leaves out."""
    from kd_sweep.tables.rendering.output_formats import render

    render(table, format, screen(wide=wide), more=more)


def screen(*, wide: bool = False) -> BinaryIO:
    """Return standard output for `render`, with its encoding; ``wide``: of unlimited width."""
    from kd_sweep.tables.rendering.output_formats import Screen

    return cast(BinaryIO, Screen(sys.stdout.buffer, encoding=sys.stdout.encoding, wide=wide))


def open_streams() -> None:
    """Make standard output and error accept any text.

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
    """End the process, even if DuckDB does not stop or the last output cannot be written."""
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

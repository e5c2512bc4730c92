"""One SQL statement over given tables, in a DuckDB that can neither write nor reach files or the network."""

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from kd_sweep.errors import QueryError

_READS = {"SELECT", "EXPLAIN", "MULTI"}
_EXPLAIN = re.compile(r"^\s*EXPLAIN\s+(?:ANALYZE\s+|\([^)]*\)\s*)?", re.IGNORECASE)
_SETTINGS = (
    "SET TimeZone='UTC'",
    "SET python_enable_replacements=false",
    "SET enable_external_access=false",
    "SET lock_configuration=true",
)
# What versions of DuckDB say when Arrow fails while it hands over rows.
_SCAN_FAILURE = re.compile(r"get_next|stream registered|Python exception|\b(IO|OS)Error")
_SHOWN_CANDIDATES = 8


class ScanError(Exception):
    """DuckDB could not read a registered table to its end."""


def check(query: str) -> None:
    """Raise `QueryError`, on one line, unless ``query`` is one statement that reads.

    SELECT (also as FROM, WITH, VALUES, PIVOT), DESCRIBE, SHOW, SUMMARIZE and EXPLAIN read.
    """
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise QueryError(f"SQL: {one_line(str(error))}") from None
    if len(statements) != 1:
        found = "no statement" if not statements else f"{len(statements)} statements"
        raise QueryError(f"SQL: {found}, where one is needed")
    kind = statements[0].type.name
    if kind not in _READS:
        raise QueryError(
            f"SQL: {kind.replace('_', ' ')} is not allowed, results are read-only; "
            "possible: SELECT, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN"
        )
    if kind == "EXPLAIN" and (explained := _EXPLAIN.sub("", statements[0].query, count=1)) != statements[0].query:
        # EXPLAIN ANALYZE runs what it explains.
        check(explained)


def may_read(query: str, table: str) -> bool:
    """Whether a statement can read a table: it says its name, or calls `query_table`, which can put a name together."""
    return re.search(rf"\b{table}\b|query", query, re.IGNORECASE) is not None


def run(
    query: str,
    tables: Mapping[str, Any],
    parameters: Mapping[str, Any] | None = None,
    timeout_s: float | None = None,
) -> pa.Table:
    """Return the answer to one reading statement.

    Args:
        query: the statement; ``$name`` stands for a parameter.
        tables: name -> Arrow table or dataset.
        parameters: values of the parameters.
        timeout_s: give up after this long.

    Raises:
        QueryError: the statement is wrong, writes, or takes too long. One line.
        ScanError: a table could not be read to its end.
    """
    check(query)
    with contextlib.closing(duckdb.connect()) as connection:
        for name, table in tables.items():
            connection.register(name, table)
        for setting in _SETTINGS:
            connection.execute(setting)
        with _limited(connection, timeout_s):
            try:
                relation = connection.sql(query, params=dict(parameters) if parameters else None)
                return relation.to_arrow_table()
            except duckdb.InterruptException:
                raise QueryError(f"SQL: the query took more than {timeout_s:g} s and was stopped") from None
            except duckdb.Error as error:
                if _SCAN_FAILURE.search(str(error)):
                    raise ScanError(one_line(str(error))) from error
                raise QueryError(f"SQL: {one_line(str(error))}") from None
            except OSError as error:
                raise ScanError(str(error)) from error


def one_line(message: str) -> str:
    """Return DuckDB's message with its candidates but without its drawing of the statement, on one line."""
    message = re.split(r"\n+LINE \d+:", message, maxsplit=1)[0]
    lines = [" ".join(line.split()) for line in message.splitlines()]
    lines = [line for line in lines if line]
    if len(lines) > _SHOWN_CANDIDATES:
        lines = [*lines[:_SHOWN_CANDIDATES], "…"]
    joined = ""
    for line in lines:
        separator = "" if not joined else (" " if joined.endswith((".", "!", ":", ",")) else "; ")
        joined += separator + line
    return joined


@contextlib.contextmanager
def _limited(connection: duckdb.DuckDBPyConnection, timeout_s: float | None) -> Iterator[None]:
    if timeout_s is None:
        yield
        return
    timer = threading.Timer(timeout_s, connection.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

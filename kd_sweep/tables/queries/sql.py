"""One SQL statement over given tables, in a DuckDB that can neither write nor reach files or the network."""

import os
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
from pydantic import ByteSize

from kd_sweep.errors import QueryError
from kd_sweep.tables.queries.sql_instances import INSTANCES
from kd_sweep.tables.queries.sql_types import extreme_values_as_text, portable
from kd_sweep.tables.queries.statement_limits import Limits

_READS = {"SELECT", "EXPLAIN", "MULTI"}
_EXPLAIN = re.compile(r"^\s*EXPLAIN\s+(?:ANALYZE\s+|\([^)]*\)\s*)?", re.IGNORECASE)
# Messages of DuckDB's versions when Arrow fails while it hands over rows.
_SCAN_FAILURE = re.compile(r"get_next|stream registered|Python exception|\b(IO|OS)Error")
_DUCKDB_ERROR = re.compile(r"[A-Z][A-Za-z ]* Error: ")
_MAX_CANDIDATES = 8
_ROWS = 20_000
"""Rows of an answer that are fetched before its size is checked."""
_GIVE_UP_S = 0.5
"""How long DuckDB has to end after an interrupt; an operation on one huge value does not check for it."""

_LONG_S = 0.1
"""Behind a statement that took longer its instance is closed: it would keep 25 MB, and a new one takes 20 ms."""

MAX_THREADS = 4
_THREAD = "kd_sweep SQL"


class ScanError(Exception):
    """DuckDB could not read a registered table to its end."""


def statements(query: str) -> list[str]:
    """Return the statements of a text, each of which is checked; `QueryError`, on one line, if one is wrong."""
    queries = [statement.query for statement in _parsed(query)]
    for statement in queries:
        check(statement)
    return queries


def check(query: str) -> None:
    """Raise `QueryError`, on one line, unless ``query`` is one statement that reads.

    SELECT (also as FROM, WITH, VALUES, PIVOT), DESCRIBE, SHOW, SUMMARIZE and EXPLAIN read.
    """
    parsed = _parsed(query)
    if len(parsed) != 1:
        number = "no statement" if not parsed else f"{len(parsed)} statements"
        raise QueryError(f"SQL: {number}, where one is needed")
    kind = parsed[0].type.name
    if kind not in _READS:
        raise QueryError(
            f"SQL: {kind.replace('_', ' ')} is not allowed, results are read-only; "
            "possible: SELECT, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN"
        )
    if kind == "EXPLAIN" and (explained := _EXPLAIN.sub("", parsed[0].query, count=1)) != parsed[0].query:
        # EXPLAIN ANALYZE runs what it explains.
        check(explained)


def is_busy() -> bool:
    """Whether a statement still runs in a thread of its own, which DuckDB did not end after an interrupt."""
    return any(thread.name == _THREAD for thread in threading.enumerate())


def may_read(query: str, table: str) -> bool:
    """Whether a statement can read a table: it contains its name, or calls `query_table`, which can build one."""
    return re.search(rf"\b{table}\b|query", query, re.IGNORECASE) is not None


def too_much_memory(limits: Limits) -> QueryError:
    """Return the error of a statement that needs more memory than it may have."""
    allowed = ByteSize(limits.memory_bytes).human_readable(decimal=True)
    return QueryError(
        f"SQL: the query or its answer needs more than {allowed} of memory; ask for less, or raise --memory-limit"
    )


def run(
    query: str,
    tables: Mapping[str, Any],
    parameters: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
) -> pa.Table:
    """Return the answer to one reading statement.

    Columns have unequal names, as DuckDB makes them where a table is made of a join: `study`, `study_1`. What Arrow has
    no type for, such as an interval, is text.

    Args:
        query: the statement; ``$name`` stands for a parameter.
        tables: name -> Arrow table or dataset.
        parameters: values of the parameters.
        limits: of time and memory; those of `Limits` when None.

    Raises:
        QueryError: the statement is wrong, writes, takes too long or too much memory. One line.
        ScanError: a table could not be read to its end.
    """
    check(query)
    return _Run(query, tables, parameters, limits or Limits()).answer()


class _Run:
    """A statement in a thread of its own: DuckDB ignores signals, and a waiting thread gets Ctrl-C at once."""

    def __init__(
        self, query: str, tables: Mapping[str, Any], parameters: Mapping[str, Any] | None, limits: Limits
    ) -> None:
        self._query, self._tables, self._parameters, self._limits = query, tables, parameters, limits
        self._instance = INSTANCES.take(limits.memory_bytes, min(MAX_THREADS, len(os.sched_getaffinity(0))))
        self._thread = threading.Thread(target=self._work, name=_THREAD, daemon=True)
        self._table: pa.Table | None = None
        self._failure: BaseException | None = None

    def answer(self) -> pa.Table:
        self._thread.start()
        try:
            self._thread.join(min(self._limits.timeout_s, threading.TIMEOUT_MAX))
        except BaseException:  # Ctrl-C
            self._stop()
            raise
        if self._thread.is_alive():
            self._stop()
            raise QueryError(f"SQL: the query took more than {self._limits.timeout_s:g} s and was stopped (--timeout)")
        if self._failure is not None:
            raise _as_query_error(self._failure, self._limits, self._tables) from self._failure
        assert self._table is not None
        return self._table

    def _stop(self) -> None:
        self._instance.connection.interrupt()
        self._thread.join(_GIVE_UP_S)

    def _work(self) -> None:
        began = time.monotonic()
        try:
            self._table = extreme_values_as_text(self._fetched())
        except BaseException as failure:  # it is raised where the answer is waited for
            self._failure = failure
        finally:
            is_light = time.monotonic() - began < _LONG_S
            self._instance.give_back(is_kept=self._failure is None and is_light)

    def _fetched(self) -> pa.Table:
        connection, limits = self._instance.connection, self._limits
        for name, table in self._tables.items():
            connection.register(name, table)
        relation = connection.sql(self._query, params=dict(self._parameters) if self._parameters else None)
        reader = _batches(portable(relation))
        batches, num_bytes = [], 0
        for batch in reader:
            num_bytes += batch.nbytes
            if num_bytes > limits.memory_bytes:
                raise duckdb.OutOfMemoryException("the answer")
            batches.append(batch)
        return pa.Table.from_batches(batches, reader.schema)


def _batches(relation: duckdb.DuckDBPyRelation) -> pa.RecordBatchReader:
    """Return the answer in parts as they come, so that one that is too large ends before the memory does."""
    if hasattr(relation, "to_arrow_reader"):
        return relation.to_arrow_reader(_ROWS)
    return relation.fetch_record_batch(_ROWS)  # before DuckDB 1.4


def _as_query_error(failure: BaseException, limits: Limits, tables: Iterable[str]) -> BaseException:
    """Return a failure of DuckDB's, or of Arrow's under it, as this module raises it."""
    message = _near_guess(one_line(str(failure)), sorted(tables))
    if isinstance(failure, duckdb.OutOfMemoryException | MemoryError) or "Out of Memory Error" in message:
        return too_much_memory(limits)
    if not isinstance(failure, duckdb.Error | pa.ArrowException | OSError):
        return failure
    # What fails in the middle of an answer comes through Arrow, as an OSError with DuckDB's message.
    is_scan = isinstance(failure, OSError) and not _DUCKDB_ERROR.match(message)
    return ScanError(message) if is_scan or _SCAN_FAILURE.search(str(failure)) else QueryError(f"SQL: {message}")


def _near_guess(message: str, tables: Sequence[str]) -> str:
    """Return DuckDB's message on a missing table without its guess at a table of its own."""
    guess = re.search(r'Table with name .* does not exist!(?P<guess> Did you mean "(?P<name>.*)"\?)?$', message)
    if guess is None or guess["name"] in tables:
        return message
    return f"{message.removesuffix(guess['guess'] or '')} possible: {', '.join(tables)}"


def one_line(message: str) -> str:
    """Return DuckDB's message with its candidates but without its drawing of the statement, on one line.

    The drawing names a line of the statement; from the second on it is named here, too.
    """
    drawn = re.search(r"\nLINE (\d+):", message)
    where = f" (line {drawn[1]})" if drawn is not None and drawn[1] != "1" else ""
    message = re.split(r"\n+(?:LINE \d+:|Stack Trace:)", message, maxsplit=1)[0]
    lines = [" ".join(line.split()) for line in message.splitlines()]
    lines = [line for line in lines if line]
    if len(lines) > _MAX_CANDIDATES:
        lines = [*lines[:_MAX_CANDIDATES], "…"]
    joined = ""
    for line in lines:
        separator = "" if not joined else (" " if joined.endswith((".", "!", ":", ",")) else "; ")
        joined += separator + line
    return joined + where


def _parsed(query: str) -> list[duckdb.Statement]:
    try:
        return duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise QueryError(f"SQL: {one_line(str(error))}") from None

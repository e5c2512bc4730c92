"""Statements of SQL that would take all memory or all time: refused in one line, and the service stays small."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kd_sweep.errors import QueryError
from kd_sweep.service.http.answers.refusals import RefusedRequestError
from kd_sweep.service.http.statements.statement_process import Question
from kd_sweep.service.http.statements.statement_processes import Statements
from tests.service.running_service import RunningService

LIMIT_BYTES = 256 * 10**6
MOST_BYTES = 1_200_000_000
"""Of a process that answers: its libraries, and twice the limit with what is added to it."""
LARGE = {
    "one value": "SELECT repeat('x', 4000000000)",
    "one value, and a number of it": "SELECT length(repeat('x', 4000000000))",
    "a list": "SELECT list_aggregate(range(1000000000), 'sum')",
    "an aggregate of text": "SELECT string_agg(range::VARCHAR, ',') FROM range(1000000000)",
    "an aggregate of a list": "SELECT list(range) FROM range(1000000000)",
    "text that doubles": "WITH RECURSIVE r AS (SELECT 'x' AS n UNION ALL SELECT n || n FROM r) SELECT max(n) FROM r",
    "a join": "SELECT count(*) FROM range(10000000) a JOIN range(10000000) b ON hash(a.range) = hash(b.range + 1)",
    "a sort": "SELECT * FROM range(300000000) ORDER BY hash(range)",
    "many rows": "SELECT * FROM range(1000000000000)",
    "a replacement": "SELECT replace(repeat('x', 100000000), 'x', repeat('y', 20))",
}
ENDLESS = {
    "recursion": "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
    "one value": "SELECT levenshtein(repeat('ab', 500000), repeat('ba', 500000))",  # DuckDB hears nothing
    "a cross join": "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range % 7 = b.range % 11",
}


@pytest.fixture
def statements() -> Iterator[Statements]:
    started = Statements(LIMIT_BYTES)
    yield started
    started.end()


def question(root: Path, query: str, timeout_s: float = 60.0) -> Question:
    return Question(str(root), query, {}, timeout_s, LIMIT_BYTES, "csv", 100)


def peak_bytes(pid: int) -> int:
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("query", LARGE.values(), ids=LARGE.keys())
def test_what_needs_too_much_is_refused_in_one_line_and_bounded(service: RunningService, query: str) -> None:
    before = peak_bytes(os.getpid())
    with service.client() as client:
        refused = client.post("/api/v1/sql", json={"query": query}, timeout=60)
        assert refused.status_code == 422, refused.text
        assert "needs more than 256.0MB of memory" in refused.json()["detail"]
        assert client.post("/api/v1/sql", json={"query": "SELECT 42 AS n"}).json()["rows"] == [{"n": 42}]
    assert peak_bytes(os.getpid()) - before < 64 * 1024**2


@pytest.mark.parametrize("query", ENDLESS.values(), ids=ENDLESS.keys())
def test_what_does_not_end_is_ended(statements: Statements, trained_root: Path, query: str) -> None:
    with pytest.raises(QueryError, match=r"SQL: the query took more than 1 s and was stopped"):
        statements.answer(question(trained_root, query, timeout_s=1.0))
    assert statements.answer(question(trained_root, "SELECT 42 AS n")) == b'"n"\n42\n'


def test_a_process_is_used_again_and_replaced_where_it_has_died_or_grown(
    statements: Statements, trained_root: Path
) -> None:
    ask = question(trained_root, "SELECT count(*) AS n FROM trials")
    assert statements.answer(ask) == statements.answer(ask)
    (pid,) = statements.pids()
    assert "/pandas/" not in Path(f"/proc/{pid}/maps").read_text()
    with pytest.raises(QueryError, match="does not exist"):
        statements.answer(question(trained_root, "SELECT nothing FROM nowhere"))
    assert statements.pids() == [pid]
    assert peak_bytes(pid) < MOST_BYTES
    os.kill(pid, signal.SIGKILL)
    assert statements.answer(ask).startswith(b'"n"\n')
    (second,) = statements.pids()
    with pytest.raises(QueryError, match="memory"):
        statements.answer(question(trained_root, LARGE["an aggregate of a list"]))
    until_ended(second)
    assert statements.answer(ask).startswith(b'"n"\n')
    assert pid != second not in statements.pids()


def until_ended(pid: int) -> None:
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}/stat").exists() and ") Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_that_is_killed_while_it_answers_is_said_so(statements: Statements, trained_root: Path) -> None:
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(statements.answer, question(trained_root, ENDLESS["recursion"]))
        while not statements.pids():
            time.sleep(0.02)
        os.kill(statements.pids()[0], signal.SIGKILL)
        with pytest.raises(QueryError, match="ended its process; it or its answer needs more than"):
            asked.result(60)
        asked = pool.submit(statements.answer, question(trained_root, ENDLESS["recursion"]))
        while not statements.pids():
            time.sleep(0.02)
        statements.end()
        with pytest.raises(RefusedRequestError, match="the service ends"):
            asked.result(60)
    assert statements.pids() == []
    with pytest.raises(RefusedRequestError, match="the service ends"):
        statements.answer(question(trained_root, "SELECT 1"))

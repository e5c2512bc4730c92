"""Instances of DuckDB are used again, and nothing passes from one statement to the next."""

import threading

import pyarrow as pa
import pytest

from kd_sweep.errors import QueryError
from kd_sweep.tables.queries.sql import run
from kd_sweep.tables.queries.sql_instances import Instances
from kd_sweep.tables.queries.statement_limits import Limits

MEMORY = 50 * 1000**2


def number_of(connection: object) -> object:
    return connection.execute("SELECT 41 + 1").fetchall()  # type: ignore[attr-defined]


def test_an_instance_is_used_again_but_by_one_statement_at_a_time() -> None:
    instances = Instances()
    first, second = instances.take(MEMORY, 1), instances.take(MEMORY, 1)
    assert first._made is not second._made
    first.give_back(is_kept=True)
    third = instances.take(MEMORY, 1)
    assert third._made is first._made
    assert number_of(third.connection) == [(42,)]
    third.give_back(is_kept=False)
    fourth = instances.take(MEMORY, 1)
    assert fourth._made not in (first._made, second._made)
    assert instances.take(2 * MEMORY, 1)._made is not fourth._made


def test_the_limits_are_those_of_the_statement_whatever_ran_before() -> None:
    query = "SELECT current_setting('memory_limit') AS m, current_setting('lock_configuration') AS locked"
    large, small = (run(query, {}, None, Limits(10.0, size)).to_pylist()[0] for size in (10 * MEMORY, MEMORY))
    assert large["m"] != small["m"]
    assert [large["locked"], small["locked"]] == [True, True]
    with pytest.raises(QueryError, match="memory"):
        run("SELECT list(range) AS l FROM range(20_000_000)", {}, None, Limits(60.0, MEMORY))
    assert run("SELECT 1 AS one", {}, None, Limits(10.0, MEMORY)).to_pylist() == [{"one": 1}]


def test_tables_and_the_state_of_a_session_are_gone_with_their_statement() -> None:
    limits = Limits(10.0, 3 * MEMORY)
    assert run("SELECT a FROM mine", {"mine": pa.table({"a": [1]})}, None, limits).num_rows == 1
    with pytest.raises(QueryError, match="mine"):
        run("SELECT a FROM mine", {}, None, limits)
    drawn = []
    for _ in range(2):
        run("SELECT setseed(0.5)", {}, None, limits)
        drawn.append(run("SELECT random() AS r", {}, None, limits)["r"][0].as_py())
    assert drawn[0] != drawn[1]


def test_statements_at_the_same_time_have_their_own_tables() -> None:
    answers: dict[int, int] = {}

    def ask(number: int) -> None:
        table = pa.table({"a": [number]})
        answers[number] = run("SELECT a FROM t", {"t": table}, None, Limits(30.0, MEMORY))["a"][0].as_py()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: number for number in range(12)}

"""Every type that SQL can return, in every format: a right value or one line, never a wrong one."""

import csv
import datetime
import io
import json
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kd_sweep.tables.queries.sql import run
from kd_sweep.tables.queries.sql_types import distinct
from kd_sweep.tables.rendering.output_formats import FORMATS, render

TYPES = {
    name: str(kind)
    for relation in [duckdb.sql("SELECT * FROM test_all_types()")]
    for name, kind in zip(relation.columns, relation.types, strict=True)
}
"""Columns of DuckDB's own table of all its types, with their least, greatest and missing values."""


def rendered(table: pa.Table, format: str) -> bytes:
    sink = io.BytesIO()
    render(table, format, sink)
    return sink.getvalue()


def values_in(format: str, query: str, column: str) -> list[Any]:
    """Return a column of the answer, in UTC, as a reader of the format sees it; csv has text alone, "" for a null."""
    content = rendered(run(query, {}), format)
    if format == "json":
        return [row[column] for row in json.loads(content, parse_constant=pytest.fail)]
    if format == "csv":
        return [row[column] for row in csv.DictReader(io.StringIO(content.decode(), newline=""))]
    return pq.read_table(io.BytesIO(content))[column].to_pylist()


def as_duckdb_says(content: bytes) -> list[str | None]:
    """Return the only column of a Parquet file as text, as DuckDB itself reads it."""
    table = pq.read_table(io.BytesIO(content))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='UTC'")
        connection.register("answer", table)
        return [row[0] for row in connection.sql("SELECT COLUMNS(*)::VARCHAR FROM answer").fetchall()]


@pytest.mark.parametrize("name", TYPES)
def test_every_type_of_sql_has_a_right_value_in_every_format(name: str) -> None:
    table = run(f'SELECT "{name}" FROM test_all_types()', {})
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone='UTC'")
        expected = [row[0] for row in connection.sql(f'SELECT "{name}"::VARCHAR FROM test_all_types()').fetchall()]
    content = {format: rendered(table, format) for format in FORMATS}
    if not TYPES[name].startswith(("TUPLE", "DOUBLE[]")):  # names of its parts, and "inf" beside "Infinity"
        assert as_duckdb_says(content["parquet"]) == expected
    from_json = [row[name] for row in json.loads(content["json"], parse_constant=pytest.fail)]
    from_csv = [row[name] for row in csv.DictReader(io.StringIO(content["csv"].decode().replace("\0", "")))]
    for value, said, text in zip(expected, from_json, from_csv, strict=True):
        assert (value is None) == (said is None)
        assert (value is None) == (text == "")
        if value is None or isinstance(said, bool | list | dict):
            continue
        if isinstance(said, float):
            assert duckdb.sql(f"SELECT '{value}'::FLOAT = '{said}'::FLOAT").fetchall() == [(True,)]
        elif not TYPES[name].startswith("BLOB"):
            assert str(said) == value
    assert content["table"].decode().count("\n") >= 5


@pytest.mark.parametrize("format", ["csv", "json", "parquet"])
@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("TIMESTAMP '2024-01-03 04:05:06.5' - TIMESTAMP '2024-01-01'", "2 days 04:05:06.5"),
        ("INTERVAL 14 MONTH", "1 year 2 months"),
        ("TIME '24:00:00'", "24:00:00"),
        ("'12:30:00+02'::TIMETZ", "12:30:00+02"),
        ("'10101'::BIT", "10101"),
        ("union_value(number := 2)", "2"),
        ("340282366920938463463374607431768211455::UHUGEINT", "340282366920938463463374607431768211455"),
        ("DATE 'infinity'", "infinity"),
        ("TIMESTAMP '-infinity'", "-infinity"),
        ("TIMESTAMPTZ '12024-01-01 00:00:00+00'", "12024-01-01 00:00:00+00"),
        ("DATE '0044-03-15 (BC)'", "0044-03-15 (BC)"),
        ("TIMESTAMP_NS '2024-01-01 00:00:00.123456789'", "2024-01-01 00:00:00.123456789"),
        ("{'since': INTERVAL 1 DAY}", "{'since': 1 day}"),
        ("MAP{}", "{}"),
        ("[NULL]", "[NULL]"),
        ("{'size': NULL, 'b': 1}", "{'size': NULL, 'b': 1}"),
        ("[INTERVAL 1 DAY]::INTERVAL[1]", "[1 day]"),
    ],
)
def test_what_arrow_cannot_say_is_one_text_in_every_format(expression: str, expected: str, format: str) -> None:
    assert values_in(format, f"SELECT {expression} AS value", "value") == [expected]
    assert expected in rendered(run(f"SELECT {expression} AS value", {}), "table").decode()


def test_times_of_our_own_tables_stay_times() -> None:
    query = "SELECT TIMESTAMPTZ '2024-05-06 07:08:09.25+00' AS at, DATE '9999-12-31' AS day, sum(2) AS total"
    table = run(query, {})
    moment = datetime.datetime(2024, 5, 6, 7, 8, 9, 250_000, tzinfo=datetime.UTC)
    assert table["at"].to_pylist() == [moment]
    assert table["day"].to_pylist() == [datetime.date.max]
    assert json.loads(rendered(table, "json")) == [
        {"at": "2024-05-06T07:08:09.250000+00:00", "day": "9999-12-31", "total": 2}
    ]


@pytest.mark.parametrize("format", ["csv", "json", "parquet"])
def test_columns_of_one_name_are_all_there(format: str) -> None:
    tables = {"a": pa.table({"id": [1], "x": [10]}), "b": pa.table({"id": [1], "x": [20]})}
    query = "SELECT * FROM a JOIN b ON a.id = b.id"
    content = rendered(run(query, tables), format)
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table)
        connection.execute(f"CREATE TABLE joined AS {query}")
        names = connection.table("joined").columns
    if format == "json":
        found = json.loads(content)
    elif format == "csv":
        found = [
            {key: int(value) for key, value in row.items()} for row in csv.DictReader(io.StringIO(content.decode()))
        ]
    else:
        found = pq.read_table(io.BytesIO(content)).to_pylist()
    assert found == [dict(zip(names, (1, 10, 1, 20), strict=True))]


def test_names_are_made_unequal_whatever_they_are() -> None:
    assert distinct(["a", "a", "a_1", "a"]) == ["a", "a_2", "a_1", "a_3"]
    assert distinct(["a", "b"]) == ["a", "b"]


def test_an_answer_of_no_rows_has_its_columns() -> None:
    table = run("SELECT 1 AS a, INTERVAL 1 DAY AS b WHERE false", {})
    assert table.column_names == ["a", "b"]
    assert [len(rendered(table, format)) > 0 for format in FORMATS] == [True] * 4

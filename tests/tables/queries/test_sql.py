import datetime
import time
from pathlib import Path

import pyarrow as pa
import pytest

from kd_sweep.errors import QueryError
from kd_sweep.tables.queries.sql import check, one_line, run
from kd_sweep.tables.queries.statement_limits import Limits

TABLES = {
    "trials": pa.table({"trial_id": ["a", "b"], "val_accuracy": [0.5, 0.75]}),
    "epochs": pa.table({"trial_id": ["a", "a", "b"], "epoch": [1, 2, 1]}),
}


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM epochs",
        "select 1;",
        "  -- a comment\n SELECT 1 /* another */ ;  ",
        "FROM trials",
        "TABLE trials",
        "WITH best AS (SELECT max(val_accuracy) AS x FROM trials) SELECT * FROM best",
        "VALUES (1), (2)",
        "DESCRIBE trials",
        "SHOW TABLES",
        "SUMMARIZE trials",
        "EXPLAIN SELECT * FROM trials",
        "EXPLAIN ANALYZE SELECT * FROM trials",
        "EXPLAIN (FORMAT json) SELECT 1",
        "PIVOT epochs ON epoch USING count(*)",
        "SELECT 'DROP TABLE trials; INSERT'",
    ],
)
def test_statements_that_read_are_answered(query: str):
    assert run(query, TABLES).num_columns > 0


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("CREATE TABLE x (a INT)", "CREATE"),
        ("CREATE VIEW x AS SELECT 1", "CREATE"),
        ("INSERT INTO trials VALUES ('c', 1)", "INSERT"),
        ("UPDATE trials SET val_accuracy = 1", "UPDATE"),
        ("DELETE FROM trials", "DELETE"),
        ("DROP TABLE trials", "DROP"),
        ("ALTER TABLE trials ADD COLUMN a INT", "ALTER"),
        ("COPY trials TO '{folder}/x.csv'", "COPY"),
        ("COPY (SELECT 1) TO '{folder}/x.parquet'", "COPY"),
        ("EXPORT DATABASE '{folder}/x'", "EXPORT"),
        ("ATTACH '{folder}/x.db'", "ATTACH"),
        ("INSTALL httpfs", "LOAD"),
        ("LOAD httpfs", "LOAD"),
        ("SET threads = 1", "SET"),
        ("SET enable_external_access = true", "SET"),
        ("SET VARIABLE x = 1", "SET"),
        ("RESET threads", "SET"),
        ("PRAGMA version", "PRAGMA"),
        ("CALL pragma_version()", "CALL"),
        ("BEGIN", "TRANSACTION"),
        ("CHECKPOINT", None),
        ("VACUUM", "VACUUM"),
        ("PREPARE p AS SELECT 1", "PREPARE"),
        ("EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1", "CREATE"),
        ("EXPLAIN ANALYZE COPY trials TO '{folder}/x.csv'", "COPY"),
        ("explain (analyze, format json) insert into trials values (1, 1)", "INSERT"),
    ],
)
def test_statements_that_write_are_refused_on_one_line(query: str, kind: str | None, tmp_path: Path):
    with pytest.raises(QueryError) as caught:
        run(query.format(folder=tmp_path), TABLES)
    message = str(caught.value)
    assert "\n" not in message
    assert "read-only; possible: SELECT, DESCRIBE" in message
    assert kind is None or f"SQL: {kind} is not allowed" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM read_blob('{file}')",
        "SELECT * FROM glob('{folder}/*')",
        "FROM '{file}'",
        "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
        "SELECT * FROM 'https://example.org/x.csv'",
    ],
)
def test_files_and_the_network_are_out_of_reach(query: str, tmp_path: Path):
    secret = tmp_path / "secret.csv"
    secret.write_text("password\n1234\n")
    with pytest.raises(QueryError) as caught:
        run(query.format(file=secret, folder=tmp_path), TABLES)
    assert "1234" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_this_programs_variables_are_out_of_reach():
    my_frame = pa.table({"secret": [1]})
    assert my_frame.num_rows == 1
    with pytest.raises(QueryError, match="my_frame does not exist"):
        run("SELECT * FROM my_frame", TABLES)


@pytest.mark.parametrize(
    ("query", "parts"),
    [
        ("SELECT val_acuracy FROM trials", ['"val_acuracy" not found', "val_accuracy"]),
        ("SELECT * FROM trails", ["trails does not exist", 'Did you mean "trials"']),
        ("SELECT * FROM nothing", ["nothing does not exist! possible: epochs, trials"]),
        ("SELEC 1", ["syntax error", "SELEC"]),
        ("SELECT avg(trial_id) FROM trials", ["avg(VARCHAR)"]),
        ("SELECT 'open", ["unterminated"]),
        ("SELECT 1,\n  2 +\nFROM FROM trials", ['at or near "FROM" (line 3)']),
        ("SELECT error('first\nsecond')", ["first"]),
        ("", ["no statement"]),
        ("-- nothing", ["no statement"]),
        ("SELECT 1; SELECT 2", ["2 statements, where one is needed"]),
        ("SELECT 1; DROP TABLE trials", ["2 statements"]),
        ("SELECT $missing", ["missing"]),
    ],
)
def test_wrong_sql_is_one_line_with_what_would_be_right(query: str, parts: list[str]):
    with pytest.raises(QueryError) as caught:
        run(query, TABLES)
    message = str(caught.value)
    assert message.startswith("SQL: ")
    assert "\n" not in message
    assert "LINE 1" not in message
    for part in parts:
        assert part in message


def test_parameters_are_values_and_never_sql():
    query = "SELECT count(*) AS n FROM trials WHERE trial_id = $id"
    assert run(query, TABLES, {"id": "a"}).to_pylist() == [{"n": 1}]
    assert run(query, TABLES, {"id": "a' OR '1'='1"}).to_pylist() == [{"n": 0}]


def test_times_are_utc_wherever_the_reader_sits(monkeypatch: pytest.MonkeyPatch):
    moment = datetime.datetime(2024, 1, 1, 23, 30, tzinfo=datetime.UTC)
    tables = {"t": pa.table({"moment": pa.array([moment], pa.timestamp("us", "UTC"))})}
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        (row,) = run(
            "SELECT moment, moment::VARCHAR AS said, date_trunc('day', moment) AS day FROM t", tables
        ).to_pylist()
    finally:
        monkeypatch.undo()
        time.tzset()
    assert row["moment"] == moment
    assert row["said"] == "2024-01-01 23:30:00+00"
    assert row["day"] == moment.replace(hour=0, minute=0)


def test_a_long_query_is_stopped():
    began = time.monotonic()
    with pytest.raises(QueryError, match=r"took more than 0\.3 s"):
        run(
            "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range % 7 = b.range % 11",
            {},
            None,
            Limits(0.3),
        )
    assert time.monotonic() - began < 20


def test_a_query_that_needs_too_much_memory_is_one_line_and_leaves_nothing_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    limits = Limits(memory_bytes=50_000_000)
    for query in (
        "SELECT range FROM range(100_000_000) ORDER BY hash(range)",  # its work
        "SELECT repeat('x', 1000) FROM range(10_000_000)",  # its answer
    ):
        with pytest.raises(QueryError, match=r"needs more than 50\.0MB of memory; .*--memory-limit") as caught:
            run(query, {}, None, limits)
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limits", [{"timeout_s": 0.0}, {"timeout_s": float("nan")}, {"memory_bytes": 1}])
def test_useless_limits_are_refused(limits: dict[str, float]):
    with pytest.raises(QueryError, match=r"not above 0|not at least"):
        Limits(**limits)


def test_a_failure_late_in_an_answer_is_one_line():
    with pytest.raises(QueryError, match="late") as caught:
        run("SELECT CASE WHEN range = 3_000_000 THEN error('late') ELSE range END FROM range(4_000_000)", {})
    assert "\n" not in str(caught.value)


def test_what_duckdb_calls_internal_is_one_line():
    assert one_line("INTERNAL Error: broken\n\nStack Trace:\n\n/usr/lib/x.so(+0x12)\n") == "INTERNAL Error: broken"


def test_long_candidate_lists_are_cut():
    message = "Binder Error: no match\n\tCandidates:\n" + "\n".join(f"\tf{n}" for n in range(40))
    assert one_line(message).endswith("…")
    assert len(one_line(message)) < 120


def test_check_alone_needs_no_tables():
    check("SELECT * FROM anything")
    with pytest.raises(QueryError):
        check("DROP TABLE anything")

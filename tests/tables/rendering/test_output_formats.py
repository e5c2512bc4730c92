import csv
import datetime
import decimal
import io
import json
import os
import pty
import re
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kd_sweep.errors import QueryError
from kd_sweep.tables.rendering.output_formats import render
from kd_sweep.tables.rendering.value_text import cells

AT = datetime.datetime(2024, 5, 6, 7, 8, 9, 250_000, tzinfo=datetime.UTC)
TABLE = pa.table(
    {
        "trial_id": ["aa", "bb"],
        "epoch": pa.array([1, 200], pa.int32()),
        "val_accuracy": [0.98765, None],
        "finished_at": pa.array([AT, None], pa.timestamp("us", "UTC")),
        "error": ['said "no", twice', "two\nlines \x1b[31mred"],
        "ok": [True, None],
        "total": pa.array([decimal.Decimal(7), None], pa.decimal128(38, 0)),
        "nothing": pa.nulls(2),
        "epochs": [[1, 2], None],
    }
)


def rendered(table: pa.Table, format: str) -> bytes:
    sink = io.BytesIO()
    render(table, format, sink)
    return sink.getvalue()


def test_json_is_a_list_of_objects():
    assert json.loads(rendered(TABLE, "json")) == [
        {
            "trial_id": "aa",
            "epoch": 1,
            "val_accuracy": 0.98765,
            "finished_at": "2024-05-06T07:08:09.250000+00:00",
            "error": 'said "no", twice',
            "ok": True,
            "total": 7,
            "nothing": None,
            "epochs": [1, 2],
        },
        dict.fromkeys(TABLE.column_names) | {"trial_id": "bb", "epoch": 200, "error": "two\nlines \x1b[31mred"},
    ]
    assert rendered(TABLE.slice(0, 0), "json") == b"[]\n"


def test_json_says_what_it_has_no_number_for_as_text():
    values = [float("nan"), float("inf"), -float("inf"), None]
    found = json.loads(rendered(pa.table({"x": values}), "json"), parse_constant=pytest.fail)
    assert [row["x"] for row in found] == ["NaN", "Infinity", "-Infinity", None]


def test_json_never_rounds_a_decimal():
    values = [decimal.Decimal("9999999999999999999.9999"), decimal.Decimal("0.2500"), decimal.Decimal("-3.0000")]
    found = json.loads(rendered(pa.table({"x": pa.array(values, pa.decimal128(38, 4))}), "json"))
    assert [row["x"] for row in found] == ["9999999999999999999.9999", 0.25, -3]


def test_csv_reads_back():
    rows = list(csv.DictReader(io.StringIO(rendered(TABLE, "csv").decode())))
    assert rows[0] == {
        "trial_id": "aa",
        "epoch": "1",
        "val_accuracy": "0.98765",
        "finished_at": "2024-05-06T07:08:09.250000+0000",
        "error": 'said "no", twice',
        "ok": "true",
        "total": "7",
        "nothing": "",
        "epochs": "[1, 2]",
    }
    assert rows[1]["val_accuracy"] == rows[1]["finished_at"] == ""
    assert datetime.datetime.fromisoformat(rows[0]["finished_at"]) == AT


def test_parquet_reads_back():
    table = TABLE.drop_columns(["nothing"])
    assert pq.read_table(io.BytesIO(rendered(table, "parquet"))).equals(table)


def test_a_piped_table_is_plain_complete_and_right_aligned():
    wide = pa.table({f"column_{number}": [f"value {'x' * 60}", None] for number in range(8)} | {"n": [1, 12345]})
    text = rendered(wide, "table").decode()
    assert "\x1b" not in text
    assert "…" not in text
    assert text.count("x" * 60) == 8
    header, *rows = [line for line in text.splitlines() if "|" in line]
    assert len({len(line) for line in rows}) == 1
    assert rows[0].rstrip(" |").endswith("     1")
    assert header.count("column_") == 8
    assert rendered(wide.slice(0, 0), "table").decode().endswith("(no rows)\n")


def test_cells_are_safe_for_a_terminal_and_short():
    text = rendered(TABLE, "table").decode()
    assert "\x1b" not in text
    assert r"\x1b[31mred" in text
    assert "2024-05-06 07:08:09" in text
    assert "0.9877" in text
    for character in "\x07\x7f\x9b\u202e\u2028\x85":
        shown = [rendered(pa.table({character: [character]}), format).decode() for format in ("table", "json")]
        assert not any(character in text for text in shown), ascii(character)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.1, 0.25, None], ["0.10", "0.25", "-"]),
        ([0.0, 0.5], ["0.0", "0.5"]),
        ([1 / 3, 0.5], ["0.3333", "0.5000"]),
        ([0.1 + 0.2, 0.3], ["0.3", "0.3"]),
        ([12345.678, 1.5], ["12345.678", "1.500"]),
        ([7.303e-4, -0.0736], ["0.00073", "-0.07360"]),
        ([1.23e-5, 4.0], ["0.000012", "4.000000"]),
        ([1.23e-7, 4.0], ["1.230e-07", "4.000e+00"]),
        ([0.0005, 0.25], ["0.0005", "0.2500"]),
        ([1e12, 0.0], ["1.000e+12", "0.000e+00"]),
        ([float("nan"), 0.5], ["nan", "0.5"]),
        ([-0.25, 1], ["-0.25", "1"]),
        ([True, None, "x"], ["true", "-", "x"]),
        ([[1.0, None], {"a": AT}], ["[1.0, null]", '{"a": "2024-05-06T07:08:09.250000+00:00"}']),
        ([b"a\x00", decimal.Decimal("1E+2")], [r"a\x00", "100"]),
    ],
)
def test_numbers_have_equal_and_sensible_decimals(values: list[object], shown: list[str]):
    assert cells(values) == shown


def test_unknown_formats_name_the_possible_ones():
    with pytest.raises(QueryError, match=r"'jsn' is not a format; did you mean 'json'"):
        render(TABLE, "jsn", io.BytesIO())


SCRIPT = """
import sys, pyarrow as pa
from kd_sweep.errors import QueryError
from kd_sweep.tables.rendering.output_formats import render
TABLES = {
    "texts": {f"column_{n}": ["x" * 30] for n in range(4)} | {"n": [1]},
    "numbers": {f"a_long_column_name_{n}": [0.12345] for n in range(10)},
    "wide": {f"column_{n}": ["y" * 12] for n in range(10)},
}
try:
    render(pa.table(TABLES[sys.argv[2]]), sys.argv[1])
except QueryError as error:
    print(error)
"""


def on_terminal(format: str, table: str = "texts") -> str:
    parent, child = pty.openpty()
    environment = os.environ | {"COLUMNS": "80", "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, format, table], stdout=child, env=environment)
    os.close(child)
    content = b""
    while True:
        try:
            chunk = os.read(parent, 65_536)
        except OSError:
            break
        if not chunk:
            break
        content += chunk
    os.close(parent)
    assert process.wait() == 0
    return content.decode()


def test_on_a_terminal_a_table_fits_its_width():
    text = on_terminal("table")
    assert text.count("x") == 4 * 30
    assert "─" in text


def test_on_a_terminal_cells_stay_whole_and_columns_that_do_not_fit_are_named():
    numbers = on_terminal("table", "numbers")
    assert numbers.count("0.1235") == 9  # more columns than fit with whole headers
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= 80 for line in numbers.splitlines())
    said = " ".join(on_terminal("table", "wide").split())
    assert said.count("y" * 12) == 5
    assert "(5 more columns: column_5, column_6, column_7, column_8, column_9; --wide or --format csv shows" in said


def test_parquet_does_not_go_to_a_terminal():
    assert "parquet is binary" in on_terminal("parquet")

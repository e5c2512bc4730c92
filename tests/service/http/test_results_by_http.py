"""Results by HTTP are those in the folder, in every form; pages and tags."""

import csv
import io
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from tests.command_line import Cli
from tests.service.running_service import RunningService

ARROW = "application/vnd.apache.arrow.stream"


def in_folder(root: Path, pattern: str) -> pl.DataFrame:
    """A table as polars reads it from the study's folder, without our reader."""
    return pl.read_parquet(root / "tiny" / pattern)


@pytest.mark.parametrize(("table", "key"), [("trials", ["trial_id"]), ("epochs", ["trial_id", "epoch"])])
@pytest.mark.parametrize("form", ["parquet", "arrow", "csv"])
def test_whole_tables_are_those_of_the_folder(
    admin: httpx.Client, trained_root: Path, table: str, key: list[str], form: str
) -> None:
    expected = in_folder(trained_root, f"{table}/*.parquet").sort(key)
    content = admin.get(f"/api/v1/tables/{table}", params={"format": form, "study": "tiny"}).raise_for_status().content
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        assert len(rows) == expected.height
        assert sorted(rows[0]) == sorted(expected.columns)
        assert sorted(row[key[0]] for row in rows) == sorted(expected[key[0]])
        return
    read = pl.read_parquet(io.BytesIO(content)) if form == "parquet" else pl.read_ipc_stream(io.BytesIO(content))
    assert_frame_equal(read.sort(key).select(expected.columns), expected, check_dtypes=False)


def test_the_columns_of_tables_are_listed_with_what_they_mean(admin: httpx.Client, trained_root: Path) -> None:
    tables = {table["name"]: table["columns"] for table in admin.get("/api/v1/tables").json()["tables"]}
    for table in ("trials", "epochs"):
        found = {column["name"] for column in tables[table]}
        assert found >= set(in_folder(trained_root, f"{table}/*.parquet").columns)
    meanings = {column["name"]: column["meaning"] for column in tables["trials"]}
    assert meanings["best_epoch"] == "The epoch at which the first objective was best, the first of equals."
    assert meanings["val_accuracy"] == "Top-1 accuracy on `val`."


def test_forms_follow_the_accept_header(admin: httpx.Client) -> None:
    path = "/api/v1/studies/tiny/trials"
    for accept, kind in [
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("text/csv", "text/csv; charset=utf-8"),
        (f"application/json;q=0.5, {ARROW}", ARROW),
        ("application/vnd.apache.parquet", "application/vnd.apache.parquet"),
    ]:
        answer = admin.get(path, headers={"Accept": accept})
        assert answer.headers["content-type"] == kind
        assert answer.headers["vary"].split(", ")[0] == "Accept"
    assert admin.get(path, headers={"Accept": "image/png"}).status_code == 406
    assert (
        admin.get(path, params={"format": "csv"}, headers={"Accept": ARROW})
        .headers["content-type"]
        .startswith("text/csv")
    )


@pytest.mark.parametrize("sort", ["val_accuracy", "-val_accuracy", "started_at", "error", "-ensemble_size"])
def test_pages_together_are_the_table_in_its_order(admin: httpx.Client, trained_root: Path, sort: str) -> None:
    expected = in_folder(trained_root, "trials/*.parquet")
    ids, after = [], None
    for _ in range(10):
        parameters = {"limit": 1, "sort": sort, **({"after": after} if after else {})}
        page = admin.get("/api/v1/studies/tiny/trials", params=parameters).raise_for_status().json()
        ids += [row["trial_id"] for row in page["rows"]]
        if (after := page["next"]) is None:
            break
    column = sort.removeprefix("-")
    ordered = expected.sort([column, "trial_id"], descending=[sort.startswith("-"), False], nulls_last=True)
    assert ids == ordered["trial_id"].to_list()


def test_pages_of_epochs_have_each_once(admin: httpx.Client, trained_root: Path) -> None:
    expected = in_folder(trained_root, "epochs/*.parquet").sort("trial_id", "epoch")
    rows, after = [], None
    while True:
        parameters = {"limit": 5, "columns": "trial_id,epoch,val_accuracy", **({"after": after} if after else {})}
        page = admin.get("/api/v1/studies/tiny/epochs", params=parameters).raise_for_status().json()
        rows += page["rows"]
        if (after := page["next"]) is None:
            break
    assert rows == expected.select("trial_id", "epoch", "val_accuracy").to_dicts()


def test_a_trial_by_the_beginning_of_its_id(admin: httpx.Client, trained_root: Path) -> None:
    stored = in_folder(trained_root, "trials/*.parquet").row(0, named=True)
    found = admin.get(f"/api/v1/studies/tiny/trials/{stored['trial_id'][:9]}").raise_for_status().json()
    assert (found["trial_id"], found["val_accuracy"]) == (stored["trial_id"], stored["val_accuracy"])
    assert found["config"]["student"]["model"] == "resnet8"
    assert found["settings"]["ensemble_size"] == stored["ensemble_size"]
    epochs = admin.get(f"/api/v1/studies/tiny/trials/{stored['trial_id']}/epochs", params={"format": "columns"}).json()
    assert epochs["columns"]["epoch"] == [1, 2, 3]
    assert epochs["columns"]["val_accuracy"][-1] == stored["val_accuracy"]


def test_an_unchanged_table_is_not_sent_again(admin: httpx.Client) -> None:
    for path in ("trials", "epochs", "teachers", "queries/summary"):
        url = f"/api/v1/studies/tiny/{path}"
        tag = admin.get(url).headers["etag"]
        again = admin.get(url, headers={"If-None-Match": f'"other", {tag}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert admin.get(url, headers={"If-None-Match": '"other"'}).status_code == 200
        assert admin.get(url, params={"format": "csv"}).headers["etag"] != tag


def test_answers_of_sql(admin: httpx.Client, trained_root: Path) -> None:
    statement = {
        "query": "SELECT max(val_accuracy) AS best FROM epochs WHERE epoch = $epoch",
        "parameters": {"epoch": 2},
    }
    best = in_folder(trained_root, "epochs/*.parquet").filter(pl.col("epoch") == 2)["val_accuracy"].max()
    assert admin.post("/api/v1/sql", json=statement).json()["rows"] == [{"best": best}]
    linked = admin.get("/api/v1/sql", params={"query": "SELECT 1 AS one", "format": "arrow"})
    assert pa.ipc.open_stream(linked.content).read_all().to_pydict() == {"one": [1]}
    long = admin.post("/api/v1/sql", json={"query": "SELECT * FROM range(10001)"}).json()
    assert (len(long["rows"]), long["truncated"]) == (10_000, True)
    whole = admin.post("/api/v1/sql?format=parquet", json={"query": "SELECT * FROM range(10001)"})
    assert pq.read_table(io.BytesIO(whole.content)).num_rows == 10_001


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE trials",
        "COPY trials TO '/tmp/stolen.csv'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "ATTACH '/tmp/x.db'",
        "INSTALL httpfs",
        "SET memory_limit='1TB'",
        "SELECT 1; SELECT 2",
        "PRAGMA enable_profiling",
    ],
)
def test_sql_reads_the_tables_alone(admin: httpx.Client, query: str) -> None:
    answer = admin.post("/api/v1/sql", json={"query": query})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("SQL: ")


def test_a_mistake_is_the_line_of_the_command_line(admin: httpx.Client, trained_root: Path, cli: Cli) -> None:
    for query in ("SELECT nothing FROM trials", "DROP TABLE trials", "SELEC 1"):
        code, _, err = cli("query", trained_root, query)
        problem = admin.post("/api/v1/sql", json={"query": query}).json()
        assert code == 2
        assert err == f"kd-sweep: {problem['detail']}\n"
        assert re.fullmatch(r"[0-9a-f]{16}", problem["request_id"])
    code, _, err = cli("query", trained_root, "leaderbord")
    answer = admin.get("/api/v1/queries/leaderbord")
    assert answer.status_code == 404
    assert err == f"kd-sweep: {answer.json()['detail']}\n"


def test_named_queries(admin: httpx.Client, trained_root: Path) -> None:
    leaders = admin.get("/api/v1/studies/tiny/queries/leaderboard").json()["rows"]
    stored = in_folder(trained_root, "trials/*.parquet").sort("val_accuracy", "trial_id", descending=[True, False])
    assert [row["trial_id"] for row in leaders] == stored["trial_id"].to_list()
    listed = {query["name"]: query for query in admin.get("/api/v1/queries").json()["queries"]}
    assert listed["summary"]["answers"].startswith("One row per configuration")
    assert "metric" in listed["bands"]["parameters"]["properties"]
    bands = admin.get(
        "/api/v1/studies/tiny/queries/bands", params={"metric": "val_accuracy", "quantiles": "0.5"}
    ).json()
    grouped = in_folder(trained_root, "epochs/*.parquet").group_by("augmentation_strength", "ensemble_size", "epoch")
    middle = grouped.agg(pl.col("val_accuracy").median())
    keys = ("augmentation_strength", "ensemble_size", "epoch")
    expected = {tuple(row[key] for key in keys): row["val_accuracy"] for row in middle.to_dicts()}
    assert {tuple(row[key] for key in keys): row["q0_5"] for row in bands["rows"]} == pytest.approx(expected)
    wrong = admin.get("/api/v1/studies/tiny/queries/bands?metric=val_acuracy")
    assert wrong.status_code == 422
    assert "did you mean 'val_accuracy'?" in wrong.json()["detail"]
    assert (
        admin.get("/api/v1/studies/tiny/queries/bands?colour=red")
        .json()["detail"]
        .startswith("bands: 'colour' is none")
    )
    assert admin.get("/api/v1/queries/summary?format=csv").text.startswith('"study"')


def test_trials_that_fulfil_conditions_are_counted_and_paged(admin: httpx.Client, trained_root: Path) -> None:
    trials = pl.read_parquet(trained_root / "tiny/trials/*.parquet")
    middle = trials["val_loss"].sort()[1]
    expected = trials.filter((pl.col("val_loss") <= middle) & (pl.col("status") == "completed")).sort("val_loss")
    where = [f"val_loss<={middle!r}", "status=completed", "last_epoch>=0"]
    query: dict[str, Any] = {"where": where, "sort": "val_loss", "limit": 1}
    first = admin.get("/api/v1/studies/tiny/trials", params=query).raise_for_status().json()
    second = admin.get("/api/v1/studies/tiny/trials", params=query | {"after": first["next"]}).json()
    assert [row["trial_id"] for page in (first, second) for row in page["rows"]] == expected["trial_id"].to_list()
    assert (first["num_matching"], second["next"]) == (2, None)


def test_two_trials_and_two_studies_are_compared(admin: httpx.Client, trained_root: Path) -> None:
    trials = pl.read_parquet(trained_root / "tiny/trials/*.parquet").filter(pl.col("ensemble_size") == 1)
    weak, strong = trials.sort("augmentation_strength").to_dicts()
    path = f"/api/v1/studies/tiny/trials/{weak['trial_id'][:9]}/comparison?with={strong['trial_id']}"
    settings = admin.get(path).raise_for_status().json()
    assert settings["rows"] == [
        {"field": "teacher_strengths", "first": "[0.0]", "second": "[0.5]"},
        {"field": "student_strength", "first": "0.0", "second": "0.5"},
    ]
    metrics = {row["column"]: row for row in admin.get(f"{path}&table=metrics").json()["rows"]}
    assert settings["num_rows_of"] == {"settings": 2, "metrics": len(metrics)}
    assert metrics["val_loss"]["difference"] == strong["val_loss"] - weak["val_loss"]
    same = admin.get("/api/v1/studies/tiny/comparison?with=tiny&table=metrics").raise_for_status().json()
    assert same["num_rows_of"] | {"metrics": 0} == {
        **{"settings": 0, "metrics": 0, "pairs": 4, "only_first": 0, "only_second": 0}
    }
    mean = pl.read_parquet(trained_root / "tiny/trials/*.parquet")["val_loss"].mean()
    loss = next(row for row in same["rows"] if row["column"] == "val_loss")
    assert (loss["first"], loss["difference"], loss["num_pairs"]) == (pytest.approx(mean), 0, 4)


@pytest.mark.parametrize(
    ("path", "status", "beginning"),
    [
        ("studies/nothing/trials", 404, "study: 'nothing' is not in "),
        ("studies/tiny/trials/ffffffffffffffff", 404, "trial: 'ffffffffffffffff' is no trial in "),
        (
            "studies/tiny/trials?sort=val_acuracy",
            422,
            "sort: 'val_acuracy' is not a column; did you mean 'val_accuracy'?",
        ),
        ("studies/tiny/trials?columns=trial", 422, "columns: 'trial' is not a column; "),
        ("studies/tiny/trials?after=nonsense", 400, "after: 'nonsense' is not a cursor of this list"),
        ("studies/tiny/trials?after=WzFd", 400, "after: 'WzFd' is not a cursor"),
        ("studies/tiny/trials?status=done", 422, "status: 'done' is not a status; "),
        ("studies/tiny/trials?where=seed", 422, "where: 'seed' is no condition, such as val_accuracy>=0.8"),
        ("studies/tiny/trials?where=sed>=1", 422, "where: 'sed' is not a column; did you mean 'seed'?"),
        ("studies/tiny/trials?where=seed>=many", 422, "where: seed: 'many' is not a number"),
        ("studies/tiny/trials?where=status>=done", 422, "where: status: >= is for numbers, and this is string"),
        ("studies/tiny/comparison?with=big", 404, "study: 'big' is not in "),
        ("studies/tiny/trials?limit=0", 422, "limit: '0': input should be greater"),
        ("tables/trial", 404, "table: 'trial' is not a table; did you mean 'trials'?"),
        ("nothing", 404, "path: /api/v1/nothing is not a path"),
    ],
)
def test_mistakes_are_one_line_with_what_is_possible(
    admin: httpx.Client, path: str, status: int, beginning: str
) -> None:
    answer = admin.get(f"/api/v1/{path}")
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["detail"].startswith(beginning)
    assert "\n" not in problem["detail"]
    assert answer.headers["x-request-id"] == problem["request_id"]


def test_many_slow_statements_are_refused_and_keep_nobody_else_waiting(service: RunningService) -> None:
    slow = "SELECT count(*) FROM range(20000000) a, range(40) b WHERE a.range % 7 = b.range"

    def ask(_: int) -> int:
        with service.client() as client:
            return client.post("/api/v1/sql", json={"query": slow}).status_code

    with ThreadPoolExecutor(40) as pool, service.client() as client:
        answers = [pool.submit(ask, number) for number in range(40)]
        end = time.monotonic() + 25
        while not any(answer.done() for answer in answers):
            assert time.monotonic() < end
            time.sleep(0.05)
        begun = time.monotonic()
        assert client.get("/readyz").status_code == 200
        assert time.monotonic() - begun < 25
        statuses = [answer.result() for answer in answers]
    assert set(statuses) <= {200, 422, 429}
    assert statuses.count(429) >= 24

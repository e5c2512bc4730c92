"""What commands write: to terminals, pipes and those who paste SQL, and how signals and limits end them."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from kd_sweep.analysis.analysis_output import FOLDER
from tests.command_line import COMMAND, IMPORT_TIMES, Cli, assert_one_line, environment, split_imports
from tests.tables.rows import write_study

QUERIES = Path(__file__).resolve().parents[2] / "docs/queries.md"


# --- SQL as people paste it -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    write_study(root, num_trials=2, num_epochs=1)
    return root


@pytest.mark.parametrize(
    "sql",
    [
        "-- how many\nSELECT count(*) AS n FROM trials;",
        "--how many\nSELECT count(*) AS n FROM trials ;; ",
        "--- a rule ---\nFROM trials SELECT count(*) AS n -- at the end",
        "--n=2?\nSELECT count(*) AS n FROM trials",
        "/* how many */ SELECT count(*) AS n FROM trials\n-- the end",
    ],
)
def test_sql_may_begin_with_a_comment(cli: Cli, results: Path, sql: str) -> None:
    for line in (("query", results, sql, "--format", "csv"), ("query", "--format=csv", "--", results, sql)):
        assert cli(*line) == (0, '"n"\n2\n', "")


def test_sql_of_the_documentation_runs_pasted_whole(cli: Cli, results: Path) -> None:
    (block,) = re.findall(r"^```sql\n(.*?)^```$", QUERIES.read_text(), re.MULTILINE | re.DOTALL)
    code, out, err = cli("query", results, block)
    assert (code, err) == (0, "")
    assert out.count("two_teachers") == out.count("epoch") == out.count("attempts") == 1
    assert_one_line(cli("query", results, block, "--format", "csv"), "3 statements", "--format table")
    assert_one_line(cli("query", results, "SELECT 1; DROP TABLE trials"), "DROP is not allowed")


def test_a_named_query_takes_parameters(cli: Cli, results: Path) -> None:
    line = (
        "query",
        results,
        "bands",
        "--param",
        "metric=ece",
        "--param",
        "quantiles=0, 1",
        "--param",
        "by=ensemble_size",
    )
    code, out, err = cli(*line, "--format", "json")
    assert (code, err) == (0, "")
    assert [list(row) for row in json.loads(out)] == [["study", "ensemble_size", "epoch", "num_trials", "q0", "q1"]] * 2
    code, out, err = cli("query", results, "density", "--param", "high=0", "--format", "csv")
    assert (code, out.count("\n"), err) == (0, 1, "2 values are outside of what is drawn.\n")
    assert_one_line(cli("query", results, "bands", "--param", "metric"), "--param: 'metric' is not NAME=VALUE")
    assert_one_line(cli("query", results, "bands", "--param", "by=x", "--param", "by=y"), "--param: by is given twice")
    assert_one_line(cli("query", results, "bands", "--param", "metrik=ece"), "did you mean 'metric'?")
    assert_one_line(cli("query", results, "SELECT 1", "--param", "a=1"), "SQL: has no parameters")


# --- terminals, pipes and signals -------------------------------------------------------------------------------------


def run_in(command: str, **changes: str) -> subprocess.CompletedProcess[bytes]:
    """Run a shell command in which `kd-sweep` is ours."""
    ours = f'kd-sweep() {{ {sys.executable} -m kd_sweep "$@"; }}\n{command}'
    return subprocess.run(
        ["bash", "-c", ours], capture_output=True, env=environment() | changes, check=False, timeout=120
    )


def test_output_that_cannot_be_written_is_one_line(results: Path, tmp_path: Path) -> None:
    for command in (f"kd-sweep query {results} > /dev/full", "kd-sweep schema > /dev/full", "kd-sweep --help >&-"):
        done = run_in(command)
        assert done.returncode == 2
        assert done.stderr.startswith(b"kd-sweep: standard output ")
        assert done.stderr.count(b"\n") == 1
    assert run_in(f"kd-sweep query {results} 2>&-").returncode == 0


def test_a_deleted_working_directory_is_one_line(results: Path, tmp_path: Path) -> None:
    done = run_in(f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; kd-sweep query {results}")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == b"kd-sweep: the working directory was deleted; change into another one"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_encoding_lacks_is_replaced(results: Path, encoding: str) -> None:
    command = f"""kd-sweep query {results} "SELECT 'é数' AS x"; kd-sweep query {results} "SELECT 'é数' FROM nowhere" """
    done = run_in(command, PYTHONIOENCODING=encoding)
    assert "é?".encode(encoding, "replace") in done.stdout
    assert b"Traceback" not in done.stderr


def test_an_error_cannot_move_the_terminal(cli: Cli, results: Path) -> None:
    for sql in ("SELECT error(chr(27) || '[31mred' || chr(10) || 'next')", 'SELECT "\x1b]0;title\x07" FROM trials'):
        result = cli("query", results, sql)
        assert_one_line(result, r"\x1b")
        assert "\x1b" not in result[2]
    assert "\x1b" not in "".join(map(str, cli("status", results / "\x1b[31mred")))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range % 7 = b.range % 11",
        "SELECT levenshtein(repeat('ab', 500000), repeat('ba', 500000))",  # one value: DuckDB hears nothing
    ],
)
def test_signals_end_a_query_that_would_take_hours(results: Path, sql: str) -> None:
    command = [*COMMAND, "query", str(results), sql]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        try:
            wait_until_busy(process.pid)
            process.send_signal(number)
            assert process.communicate(timeout=60) == (b"", b"")
            assert process.returncode == code
        finally:
            process.kill()


def wait_until_busy(pid: int) -> None:
    """Return once a process works in other threads than its main one, which imports."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ticks = 0
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):  # it has just ended
                ticks += int((task / "stat").read_text().rpartition(")")[2].split()[11]) if task.name != str(pid) else 0
        if ticks > os.sysconf("SC_CLK_TCK") // 4:
            return
        time.sleep(0.05)
    raise AssertionError("the query has not begun")


def test_a_timeout_ends_a_query_that_does_not_listen(results: Path) -> None:
    sql = "SELECT levenshtein(repeat('ab', 500000), repeat('ba', 500000))"
    done = run_in(f'kd-sweep query {results} "{sql}" --timeout 0.2')
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"kd-sweep: SQL: the query took more than 0.2 s and was stopped (--timeout)\n"


def test_status_fits_80_columns_and_wide_has_the_rest(cli: Cli, results: Path) -> None:
    code, out, _ = cli("status", results)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert all(name in out for name in ("study", "status", "trials", "epochs", "best", "left", "changed"))
    rows = json.loads(cli("status", results, "--format", "json")[1])
    assert {"num_planned", "driver_alive", "best_objective", "remaining_s"} <= set(rows[0])
    assert all(name in cli("status", results, "--wide")[1] for name in rows[0])


def test_help_names_arguments_as_the_readme_does(cli: Cli) -> None:
    assert "query [OPTIONS] {ROOT} [SQL]\n" in cli("query", "--help")[1]
    assert "attention [OPTIONS] {ROOT} {TRIAL}...\n" in cli("attention", "--help")[1]


def test_help_names_the_folder_that_the_analysis_writes_to(cli: Cli) -> None:
    assert f"STUDY/{FOLDER}." in " ".join(cli("analyse", "--help")[1].split())


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    command = f"{sys.executable} -m kd_sweep schema | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_help_loads_nothing_that_takes_seconds() -> None:
    timed = environment() | dict([IMPORT_TIMES])
    done = subprocess.run([*COMMAND, "--help"], check=True, capture_output=True, text=True, env=timed)
    imported, _ = split_imports(done.stderr)
    assert "typer" in imported
    assert not {"torch", "torchvision", "ray", "optuna", "pyarrow", "duckdb", "numpy", "pydantic"} & imported


def test_version_and_schema(cli: Cli) -> None:
    assert cli("--version")[1].strip() == "0.1.0"
    code, out, _ = cli("schema")
    assert code == 0
    assert '"augmentation_strength"' in out


def test_plan_says_what_the_dataset_holds(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    for name, shade in (("cat", 0), ("dog", 100)):
        for number in range(10):
            (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12, 12), (20 * number, shade, 30)).save(tmp_path / "images" / name / f"{number}.png")
    (tmp_path / "images/notes.txt").write_text("")
    data = f"data={{name: image_folder, path: {tmp_path}/images, image_size: 8}}"
    code, out, _ = cli("plan", tiny, "--root", tmp_path / "r", "--no-probe", "--set", data)
    assert code == 0
    assert out.splitlines()[1:3] == [
        "data: 16 training and 4 validation images of 2 classes (cat, dog)",
        "passed over: 1 not images (.txt)",
    ]
    assert not (tmp_path / "r").exists()

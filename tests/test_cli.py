"""The command line as a user meets it: every mistake is one line with its rule, value and location, and exit code 2."""

import contextlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer
from PIL import Image

from kd_sweep.cli import app
from kd_sweep.cli.arguments import check_image_file
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.errors import StorageError
from kd_sweep.study.file.load import parse_spec
from tests.command_line import COMMAND, IMPORT_TIMES, Cli, environment, split_imports
from tests.tables.rows import write_study

QUERIES = Path(__file__).resolve().parents[1] / "docs/queries.md"


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def assert_one_line(result: tuple[int, str, str], *parts: str) -> None:
    code, out, err = result
    assert code == 2, (out, err)
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err
    assert err.startswith("kd-sweep: ")
    for part in parts:
        assert part in err, err


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("search.ensemble_size.grid=[0]", ["search.ensemble_size.grid[0]", "0", "at least 1"]),
        ("search.augmentation_strength.grid=[1.5]", ["search.augmentation_strength.grid[0]", "1.5", "1"]),
        ("search.augmentation_strength.grid=[]", ["search.augmentation_strength.grid", "empty"]),
        ("teacher.epoch=3", ["teacher.epoch", "did you mean 'epochs'"]),
        ("teacher.epochs=eight", ["teacher.epochs", "eight", "whole number"]),
        ("data.name=mnist", ["data.name", "mnist", "digits, image_folder"]),
        ("student.model=resnet9", ["student.model", "resnet9", "did you mean"]),
        ("student.model=nothing_like_it", ["student.model", "nothing_like_it", "possible:"]),
        ("scheduler.name=bohb", ["scheduler.name", "bohb", "asha"]),
        ("objectives=[{metric: val_acuracy, mode: max}]", ["objectives[0].metric", "did you mean 'val_accuracy'"]),
        ("scheduler={name: asha, metric: f1}", ["scheduler.metric", "f1", "possible:"]),
        ("sampler.name=cmaes", ["sampler.name", "cmaes", "tpe"]),
        ("nonsense", ["--set", "nonsense", "="]),
        ("teacher.weights=~no-such-user/weights.pt", ["teacher.weights", "~no-such-user", "cannot be a path"]),
        ("resources.cpus=4096", ["resources.cpus", "4096"]),
    ],
)
def test_wrong_fields(cli: Cli, tiny: Path, tmp_path: Path, override: str, parts: list[str]) -> None:
    before = files_below(tmp_path)
    assert_one_line(cli("launch", tiny, "--root", tmp_path / "results", "--set", override), *parts)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["empty"]),
        ("name: a\ndata: {name: digits\nstudent: [", ["line"]),
        ("- a\n- b\n", ["a list instead of keys"]),
        ("name: a\ncolour: red\n", ["colour", "line 2"]),
        ("name: a\nteacher:\n  epochs: 3\n  epochs: 4\n", ["epochs", "line 4"]),
    ],
)
def test_wrong_files(cli: Cli, tmp_path: Path, text: str, parts: list[str]) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    assert_one_line(cli("launch", path, "--root", tmp_path / "results"), "wrong.yaml", *parts)
    assert not (tmp_path / "results").exists()


def test_missing_file(cli: Cli, tiny: Path) -> None:
    assert_one_line(cli("launch", tiny.with_name("tinny.yaml")), "tinny.yaml", "tiny.yaml")


def image_folder(folder: Path, classes: tuple[str, ...], images: int) -> Path:
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(images):
            Image.new("RGB", (12, 12), (20 * number, 90, 30)).save(folder / name / f"{number}.png")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.parametrize(
    ("classes", "images", "part"),
    [((), 0, "no class folders"), (("cat",), 3, "one class"), (("cat", "dog"), 0, "image")],
)
def test_useless_image_folders(
    cli: Cli, tiny: Path, tmp_path: Path, classes: tuple[str, ...], images: int, part: str
) -> None:
    folder = image_folder(tmp_path / "images", classes, images)
    data = f"data={{name: image_folder, path: {folder}, image_size: 8}}"
    result = cli("launch", tiny, "--root", tmp_path / "r", "--set", data)
    assert_one_line(result, "data.path", str(folder))
    assert not (tmp_path / "r").exists()


def test_missing_image_folder(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    data = "data={name: image_folder, path: /no/such/place, image_size: 8}"
    result = cli("launch", tiny, "--root", tmp_path / "r", "--set", data)
    assert_one_line(result, "data.path", "/no/such/place")


def test_root_that_cannot_be_written(cli: Cli, tiny: Path) -> None:
    assert_one_line(cli("launch", tiny, "--root", tiny / "results"), str(tiny))
    assert_one_line(cli("launch", tiny, "--root", "/proc/results"), "/proc/results")


def test_resume_of_what_is_no_study(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "something").mkdir()
    assert_one_line(cli("resume", tmp_path / "something"), "something", "study.yaml")
    assert_one_line(cli("resume", tmp_path / "nothing"), "nothing")


def test_launch_into_a_folder_of_something_else(cli: Cli, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "r" / "tiny").mkdir(parents=True)
    (tmp_path / "r" / "tiny" / "thesis.tex").write_text("…")
    assert_one_line(cli("launch", tiny, "--root", tmp_path / "r"), "thesis.tex", "not a study")


def test_queries_of_nothing(cli: Cli, tmp_path: Path) -> None:
    for command in ("query", "status"):
        assert_one_line(cli(command, tmp_path / "missing"), "missing")
        assert_one_line(cli(command, tmp_path), str(tmp_path))


@pytest.mark.parametrize("command", ["status", "query", "analyse", "verify", "gc"])
def test_a_wrong_format_is_told_before_the_work(cli: Cli, tmp_path: Path, command: str) -> None:
    possible = ["lines"] if command in ("verify", "gc") else []
    assert_one_line(
        cli(command, tmp_path / "nowhere", "--format", "cvs"), "--format: 'cvs'", "'csv'", "parquet", *possible
    )


# --- what no argument can be ------------------------------------------------------------------------------------------


def command_lines() -> list[tuple[str, list[str]]]:
    """Return, for every argument and option that takes text, its name and a command line in which it is ``%``."""
    found = []
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        required = [parameter for parameter in command.params if parameter.required]
        for parameter in command.params:
            if getattr(parameter, "is_flag", False) or parameter.name == "help":
                continue
            is_option = parameter.param_type_name == "option"
            label = max(parameter.opts, key=len) if is_option else parameter.metavar or parameter.name
            line = [name]
            for other in command.params:
                value = "%" if other is parameter else "x"
                is_here = other is parameter or other in required
                before = other.param_type_name == "argument" and command.params.index(other) < command.params.index(
                    parameter
                )
                if is_here or (before and not is_option):
                    line += [max(other.opts, key=len), value] if other.param_type_name == "option" else [value]
            found.append((label, line))
    return found


@pytest.mark.parametrize(
    ("label", "line"), command_lines(), ids=lambda value: value if isinstance(value, str) else value[0]
)
def test_an_empty_value_is_refused_everywhere(cli: Cli, label: str, line: list[str]) -> None:
    for empty in ("", "  "):
        assert_one_line(cli(*(empty if word == "%" else word for word in line)), f"{label}: is empty")


@pytest.mark.parametrize(
    ("value", "part"), [("r\udce9sultats", r"'r\xe9sultats' is not UTF-8 text"), ("~no-such-user/x", "home folder")]
)
def test_a_root_that_is_none_is_one_line(cli: Cli, tiny: Path, value: str, part: str) -> None:
    for command in (["status"], ["query"], ["verify"], ["gc"], ["resume"], ["plan", str(tiny), "--root"]):
        assert_one_line(cli(*command, value), part)


@pytest.mark.parametrize(
    "line",
    [
        ["query"],
        ["query", "x", "--frmat", "csv"],
        ["query", "x", "SELECT 1", "more"],
        ["nonsense"],
        ["plan", "x", "--slots", "many"],
        ["query", "x", "--timeout", "0"],
        ["query", "x", "--timeout", "soon"],
        ["query", "x", "--memory-limit", "lots"],
        ["query", "x", "--memory-limit", "1"],
    ],
)
def test_wrong_usage_is_one_line(cli: Cli, line: list[str]) -> None:
    code, out, err = cli(*line)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("kd-sweep")


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
def test_signals_end_a_long_query_within_a_second(results: Path, sql: str) -> None:
    command = [*COMMAND, "query", str(results), sql]
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
        try:
            wait_until_busy(process.pid)
            process.send_signal(number)
            began = time.monotonic()
            assert process.communicate(timeout=60) == (b"", b"")
            assert time.monotonic() - began < 1
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
        if ticks > os.sysconf("SC_CLK_TCK") // 2:
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


@pytest.mark.parametrize("change", [{"pid": "7"}, {"renewed_at": math.nan}, {"acquired_at": 1e308}, {"host": None}])
def test_a_lease_that_makes_no_sense_is_nobodys_in_every_command(cli: Cli, tmp_path: Path, change: dict[str, object]):
    folder = StudyFolder(tmp_path, "digits")
    with StudyState(parse_spec("name: digits", "digits.yaml"), folder):
        (file,) = (tmp_path / "digits").glob("driver-lease-*.json")
        content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"released": False} | change))
    for command in (["status"], ["query", "SELECT status FROM studies"], ["verify"], ["gc"]):
        code, out, err = cli(command[0], tmp_path, *command[1:])
        assert code == 0, err
        assert "Traceback" not in err
        if command == ["verify"]:
            assert f"{file}: is damaged, so nobody holds it" in out
    with folder.lock() as lease:
        assert lease.term == 2


def test_an_image_file_needs_a_folder_and_a_suffix_of_images(tmp_path: Path):
    check_image_file(tmp_path / "a.PNG")
    with pytest.raises(StorageError, match=r"a.txt is not the name of an image file; possible: .png, "):
        check_image_file(tmp_path / "a.txt")
    with pytest.raises(StorageError, match=r"--out: .*nowhere is not a folder"):
        check_image_file(tmp_path / "nowhere" / "a.png")

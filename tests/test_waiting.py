"""The line that says what takes long, on a real terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

from kd_sweep.waiting import DELAY_S
from tests.command_line import COMMAND, environment
from tests.tables.rows import write_study

SCRIPT = """
import sys, time
import rich.live  # which takes a busy machine longer than what is waited for here
from kd_sweep.waiting import doing, shown
with shown(), doing("reading the tables"):
    time.sleep(float(sys.argv[1]) / 2)
    with doing("drawing images"):
        time.sleep(float(sys.argv[1]) / 2)
        print("the answer")
"""


SOON = "import kd_sweep.waiting\nkd_sweep.waiting.PLAIN_DELAY_S = 0.5\n"


def on_terminal(seconds: float, tmp_path: Path) -> tuple[str, str]:
    """Return what the script writes to its terminal, on stderr, and into a file, on stdout."""
    parent, child = pty.openpty()
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(seconds)],
            stdout=out,
            stderr=child,
            env=os.environ | {"TERM": "xterm", "COLUMNS": "80", "PYTHONPATH": str(Path(__file__).parents[1])},
        )
    os.close(child)
    content = b""
    while chunk := _read(parent):
        content += chunk
    os.close(parent)
    assert process.wait() == 0
    return content.decode(), (tmp_path / "out").read_text()


def test_a_long_query_says_what_it_does(tmp_path: Path) -> None:
    write_study(tmp_path / "results", num_trials=1, num_epochs=1)
    sql = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range % 7 = b.range % 11"
    parent, child = pty.openpty()
    command = [*COMMAND, "query", str(tmp_path / "results"), sql, "--timeout", "1.5"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=child, env=environment() | {"TERM": "xterm", "COLUMNS": "80"}
    )
    os.close(child)
    shown = b""
    while chunk := _read(parent):
        shown += chunk
    os.close(parent)
    assert process.wait() == 2
    assert b"reading the tables (" in shown
    assert shown.rstrip().endswith(b"kd-sweep: SQL: the query took more than 1.5 s and was stopped (--timeout)")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:
        return b""


def test_what_takes_long_is_named_on_a_terminal_and_taken_away(tmp_path: Path) -> None:
    shown, out = on_terminal(2 * (DELAY_S + 1.0), tmp_path)
    assert "reading the tables" in shown
    assert "drawing images" in shown
    assert shown.rstrip().endswith(("\x1b[2K", "\x1b[?25h"))
    assert out == "the answer\n"


def test_what_is_soon_over_is_not_named(tmp_path: Path) -> None:
    assert on_terminal(0.02, tmp_path) == ("", "the answer\n")


def test_nothing_is_said_where_no_terminal_is(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "1.2"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        check=True,
    )
    assert (done.stdout, done.stderr) == ("the answer\n", "")


def test_a_plain_line_is_said_where_no_terminal_is_and_one_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SOON + SCRIPT.replace('tables")', 'tables", plainly=True)'), "1.2"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        check=True,
    )
    assert (done.stdout, done.stderr) == ("the answer\n", "reading the tables\n")

"""The log of a driver that prints without end: bounded on the disk, and read to its end all the same."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from kd_sweep.service.supervision import driver_log
from kd_sweep.service.supervision.driver_log import MOST_BYTES, bound_log, last_line, read_log

LINE = 100
PRINTS = """
import sys
from pathlib import Path
from kd_sweep.service.supervision.driver_log import keep_bounded

keep_bounded(Path({log!r}))
for start in range(0, {number}, 1000):
    sys.stdout.write("".join(f"line {{number:0{digits}}}\\n" for number in range(start, start + 1000)))
"""


def on_disk(path: Path) -> int:
    return path.stat().st_blocks * 512


def printing(path: Path, number: int) -> "subprocess.Popen[bytes]":
    """Start a process that prints so many lines of `LINE` bytes into a log and bounds it, as a driver does."""
    program = PRINTS.format(log=str(path), number=number, digits=LINE - len("line \n"))
    with path.open("ab") as log:
        return subprocess.Popen([sys.executable, "-c", program], stdout=log)


def pages(path: Path, limit: int) -> list[str]:
    texts, offset = [], 0
    while True:
        text, following = read_log(path, offset, limit, is_complete=True)
        if following == offset:
            return texts
        texts, offset = [*texts, text], following


def test_a_gigabyte_of_lines_takes_little_of_the_disk_and_is_read_from_both_ends(tmp_path: Path) -> None:
    log, number = tmp_path / "driver.log", (1 << 30) // LINE
    process, most, looks = printing(log, number), 0, 0
    while process.poll() is None:
        most, looks = max(most, on_disk(log)), looks + 1
        time.sleep(0.02)
    assert process.returncode == 0
    bound_log(log)
    assert looks > 10
    assert log.stat().st_size > 1_000_000_000
    assert on_disk(log) <= MOST_BYTES + (1 << 20)
    assert most < 4 * MOST_BYTES

    texts = pages(log, 1 << 20)
    lines = "".join(texts).splitlines()
    numbers = [int(line.removeprefix("line ")) for line in lines if line.startswith("line ") and len(line) == LINE - 1]
    assert numbers[0] == 0
    assert numbers[-1] == number // 1000 * 1000 + 999 or numbers[-1] == number - 1
    assert numbers == sorted(set(numbers))
    assert len(numbers) * LINE > 9_000_000
    (left_out,) = [line for line in lines if line.endswith("bytes are left out here]")]
    assert "\0" not in "".join(texts)
    assert len(lines) - len(numbers) == 2, "that one, and the line before it, which is cut"
    assert int(left_out.split()[0].removeprefix("[")) > 900_000_000
    assert last_line(log) == lines[-1]
    assert read_log(log, None, 1000, is_complete=True)[0].splitlines() == lines[-9:]


def test_a_cursor_before_the_hole_goes_on_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MOST_BYTES": 1 << 20, "_BEGINNING": 1 << 17, "_END": 1 << 17}.items():
        monkeypatch.setattr(driver_log, name, value)
    log = tmp_path / "driver.log"
    assert printing(log, 20_000).wait() == 0
    _, behind = read_log(log, 0, 500_000, is_complete=False)
    bound_log(log)
    text, _ = read_log(log, behind, 1000, is_complete=False)
    assert text.startswith("[")
    assert text.splitlines()[1].startswith("line 0")
    before = log.read_bytes()
    bound_log(log)
    assert log.read_bytes() == before


def test_a_log_that_cannot_be_bounded_is_said_once_and_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(driver_log, "MOST_BYTES", 1000)
    monkeypatch.setattr(driver_log, "_PUNCH_HOLE", 1 << 30)  # which no filesystem knows
    log = tmp_path / "driver.log"
    bound_log(log)
    assert caplog.text == ""
    log.write_bytes(b"x" * (10 << 20))
    bound_log(log)
    bound_log(log)
    assert len(caplog.records) == 1
    assert "grows without a bound: Operation not supported" in caplog.text
    assert log.read_bytes() == b"x" * (10 << 20)

"""Leases when a wall clock jumps by hours: they are kept, and judged by processes and counters instead."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kd_sweep.storage.lease_holder import DRIVER_LEASE, holder_of
from kd_sweep.storage.root import Root

LEASE_S = 3.0
HOURS = 3 * 3600.0

CLOCK = """
import socket, sys, time
from_1970, jump_s = time.time, float(sys.argv[3])
time.time = lambda: from_1970() + jump_s
socket.gethostname = lambda: sys.argv[1]
from kd_sweep.errors import StudyLockedError
from kd_sweep.tables.study_lease import study_lease
from kd_sweep.storage.root import Root
root, lease_s = Root.open(sys.argv[2]), float(sys.argv[4])
"""
"""The beginning of a process with a host name and a wall clock of its own."""

HOLD = f"""{CLOCK}
lease = study_lease(root, "digits", lease_s=lease_s)
print("held", flush=True)
for line in sys.stdin:
    jump_s = float(line)
    time.sleep(lease_s / 4)  # five heartbeats, unless one of them waits for a disk
    late = time.monotonic() + lease_s
    while abs(time.time() - lease.holder.renewed_at) >= lease_s and time.monotonic() < late:
        time.sleep(lease_s / 20)
    lease.check()
    print("renewed" if abs(time.time() - lease.holder.renewed_at) < lease_s else "silent", flush=True)
"""

TAKE = f"""{CLOCK}
began = time.monotonic()
try:
    study_lease(root, "digits", lease_s=lease_s)
    print("taken", time.monotonic() - began, flush=True)
except StudyLockedError as error:
    print("refused", error, flush=True)
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    processes = []

    def run(script: str, host: str, study: Path, jump_s: float = 0.0) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, host, str(study), str(jump_s), str(LEASE_S)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    folder.mkdir()
    return folder


def answer(process: subprocess.Popen[str], jump_s: float | None = None) -> str:
    """Return the next line that a process says, after telling it how far its clock is off from now on."""
    assert process.stdin is not None
    assert process.stdout is not None
    if jump_s is not None:
        process.stdin.write(f"{jump_s}\n")
        process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.mark.parametrize("jump_s", [HOURS, -HOURS], ids=["forwards", "backwards"])
@pytest.mark.parametrize("taker", ["host-a", "host-b"], ids=["here", "elsewhere"])
def test_a_holder_whose_clock_jumps_keeps_its_lease_until_it_dies(
    start: Start, study: Path, taker: str, jump_s: float
) -> None:
    holder = start(HOLD, "host-a", study)
    assert answer(holder) == "held"
    assert answer(holder, jump_s) == "renewed"
    there = holder_of(Root.open(study), DRIVER_LEASE)
    assert there is not None
    assert there.renewed_at - time.time() == pytest.approx(jump_s, abs=60)  # the jump has reached the file

    refused = answer(start(TAKE, taker, study))
    assert re.match(
        rf"refused study 'digits' is held by pid {holder.pid} on host-a for \d\S* \w+ \(renewed \d\S* \w+ ago\)",
        refused,
    )
    assert answer(holder, 0.0) == "renewed"  # the clock is put right
    assert answer(holder, jump_s) == "renewed"
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    taken, after_s = answer(start(TAKE, taker, study)).split()
    assert taken == "taken"
    assert float(after_s) < 2 * LEASE_S


@pytest.mark.parametrize("jump_s", [HOURS, -HOURS], ids=["forwards", "backwards"])
def test_a_taker_whose_own_clock_is_off_sees_that_the_holder_lives(start: Start, study: Path, jump_s: float) -> None:
    holder = start(HOLD, "host-a", study)
    assert answer(holder) == "held"
    assert answer(start(TAKE, "host-b", study, jump_s)).startswith(
        f"refused study 'digits' is held by pid {holder.pid}"
    )
    assert answer(holder, 0.0) == "renewed"

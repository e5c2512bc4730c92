import contextlib
import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pytest

from kd_sweep.errors import StorageError, StudyLockedError
from kd_sweep.storage.lease import Lease
from kd_sweep.storage.lease_holder import DRIVER_LEASE, Holder, damaged_lease, holder_of
from kd_sweep.storage.process_identity import is_alive, process_start, this_pid_scope, this_process
from kd_sweep.storage.root import Root
from kd_sweep.storage.terms import Claim, claim_name, claims_on
from kd_sweep.tables.study_lease import study_lease
from tests.damage import FailingDisk, UnreliableDisk

HOLD = """
import sys, time
from kd_sweep.storage.lease import Lease
lease = Lease.acquire(sys.argv[1], lease_s=float(sys.argv[2]))
print("held", flush=True)
sys.stdin.readline()
lease.release()
"""

RACE = """
import sys, time
from kd_sweep.errors import StudyLockedError
from kd_sweep.storage.lease import Lease
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
try:
    lease = Lease.acquire(sys.argv[1], lease_s=30)
    print("held", flush=True)
    time.sleep(60)
except StudyLockedError as error:
    print("refused", error, flush=True)
"""

TOKEN = "f00db10c"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    processes = []

    def run(script: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "study" / DRIVER_LEASE


def hold(start: Start, path: Path, lease_s: float = 30.0) -> subprocess.Popen[str]:
    process = start(HOLD, path, lease_s)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def foreign(path: Path, silent_s: float, **changes: object) -> Path:
    """Write the lease of a driver on another host, in the next term, and return its file."""
    now = time.time()
    holder = Holder("host-b", 77, "1", now - 300, now - silent_s, 5, TOKEN, 30.0, "boot-b", "ns-b")
    holder = dataclasses.replace(holder, **changes)  # type: ignore[arg-type]
    path.parent.mkdir(exist_ok=True)
    known = claims_on(path.name, Root.open(path.parent).files())
    file = path.with_name(claim_name(path.name, Claim(known[-1].term + 1 if known else 1, TOKEN)))
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(dataclasses.asdict(holder)))
    fresh.replace(file)
    return file


def content_of(path: Path) -> dict[str, Any]:
    """What the file of the latest term says."""
    (*_, latest) = claims_on(path.name, Root.open(path.parent).files())
    content: dict[str, Any] = json.loads(path.with_name(claim_name(path.name, latest)).read_text())
    return content


def test_the_file_says_who_holds_it(path: Path):
    with Lease.acquire(path) as lease:
        content = content_of(path)
        assert content["host"] == this_pid_scope().host
        assert content["pid"] == os.getpid()
        assert content["process_start"] == process_start(os.getpid())
        assert content["acquired_at"] == pytest.approx(time.time(), abs=5)
        assert lease.holder.is_alive
    assert holder_of(Root.open(path.parent)) is None
    assert content_of(path)["released"]


def test_a_second_process_is_refused_at_once_with_host_pid_and_age(path: Path, start: Start):
    holder = hold(start, path)
    began = time.monotonic()
    with pytest.raises(StudyLockedError) as caught:
        study_lease(Root.open(path.parent), "digits")
    assert time.monotonic() - began < 10
    message = str(caught.value)
    assert "'digits'" in message
    assert f"pid {holder.pid} on {this_pid_scope().host} for " in message
    assert "\n" not in message


def test_a_second_lease_in_this_process_is_refused(path: Path):
    with Lease.acquire(path), pytest.raises(StudyLockedError):
        Lease.acquire(path)
    Lease.acquire(path).release()


def test_a_killed_holder_on_this_host_is_replaced_at_once(path: Path, start: Start):
    holder = hold(start, path)
    holder.send_signal(signal.SIGKILL)
    # Not waited for: the process is a zombie still, and counts as dead.
    deadline = time.monotonic() + 60
    while process_start(holder.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    began = time.monotonic()
    with Lease.acquire(path) as lease:
        assert time.monotonic() - began < 10
        assert lease.holder.pid == os.getpid()


def test_a_released_lease_is_free_for_others(path: Path, start: Start):
    holder = hold(start, path)
    assert holder.stdin is not None
    holder.stdin.write("go\n")
    holder.stdin.flush()
    holder.wait(60)
    Lease.acquire(path).release()


def test_a_stopped_process_of_this_host_keeps_its_lease(path: Path, start: Start):
    holder = hold(start, path, 0.4)
    holder.send_signal(signal.SIGSTOP)
    time.sleep(0.8)
    with pytest.raises(StudyLockedError, match=f"pid {holder.pid}"):
        Lease.acquire(path)
    holder.send_signal(signal.SIGCONT)


def test_a_pid_that_is_used_again_is_not_the_holder(path: Path):
    ours, scope = this_process(), this_pid_scope()
    foreign(path, 1, host=scope.host, boot_id=scope.boot_id, pid_namespace=scope.pid_namespace, pid=ours[0])
    with Lease.acquire(path) as lease:
        assert lease.holder.token != TOKEN


def test_a_fresh_holder_elsewhere_is_respected(path: Path):
    foreign(path, silent_s=10)
    began = time.monotonic()
    with pytest.raises(StudyLockedError, match=r"pid 77 on host-b for 5 min \(renewed 10 s ago\)"):
        Lease.acquire(path)
    assert time.monotonic() - began < 10
    assert holder_of(Root.open(path.parent)).token == TOKEN  # type: ignore[union-attr]


def test_a_holder_of_the_same_name_in_another_boot_is_elsewhere(path: Path):
    foreign(path, silent_s=10, host=this_pid_scope().host)
    with pytest.raises(StudyLockedError):
        Lease.acquire(path)


@pytest.mark.parametrize("silent_s", [3.0, 1e6, -1e6], ids=["past the lease", "long past", "clock far ahead"])
def test_a_silent_holder_elsewhere_is_replaced_after_its_lease(path: Path, silent_s: float):
    foreign(path, silent_s, lease_s=2.0)
    with Lease.acquire(path) as lease:
        assert content_of(path)["token"] == lease.holder.token


def test_a_holder_whose_clock_is_behind_but_who_renews_is_respected(path: Path, start: Start):
    script = """
import json, pathlib, sys, time
path = pathlib.Path(sys.argv[1])
content = json.loads(path.read_text())
while True:
    content["counter"] += 1
    path.with_suffix(".new").write_text(json.dumps(content))
    path.with_suffix(".new").replace(path)
    print(flush=True)
    time.sleep(0.1)
"""
    file = foreign(path, silent_s=10_000, lease_s=10.0)
    renewing = start(script, file)
    assert renewing.stdout is not None
    renewing.stdout.readline()
    with pytest.raises(StudyLockedError, match="host-b"):
        Lease.acquire(path)


def test_wait_takes_a_lease_whose_counter_stands_still_whatever_its_clock_says(path: Path):
    foreign(path, silent_s=-0.5, lease_s=1.0)
    began = time.monotonic()
    with Lease.acquire(path, wait=True, timeout_s=20):
        assert time.monotonic() - began > 0.9


def test_wait_gets_the_lease_when_the_holder_releases_it(path: Path, start: Start):
    holder = hold(start, path)
    with pytest.raises(StudyLockedError):
        Lease.acquire(path, wait=True, timeout_s=0.5)
    assert holder.stdin is not None
    holder.stdin.write("go\n")
    holder.stdin.flush()
    Lease.acquire(path, wait=True, timeout_s=20).release()


@pytest.mark.parametrize("stale", [False, True], ids=["free", "stale"])
def test_of_many_takers_one_wins(path: Path, start: Start, stale: bool):
    for _ in range(2):
        path.parent.mkdir(exist_ok=True)
        for file in path.parent.iterdir():
            file.unlink()
        if stale:
            foreign(path, silent_s=10_000, lease_s=1.0)
        at = time.time() + 1.0
        takers = [start(RACE, path, at) for _ in range(4)]
        answers = [taker.stdout.readline().split()[0] for taker in takers]  # type: ignore[union-attr]
        assert sorted(answers) == ["held"] + ["refused"] * 3
        for taker in takers:
            taker.kill()
            taker.wait()


def test_heartbeats_renew_and_release_leaves_another_holders_lease(path: Path):
    lease = Lease.acquire(path, lease_s=0.4)
    deadline = time.monotonic() + 30
    while content_of(path)["counter"] < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    lease.check()
    foreign(path, silent_s=0)
    time.sleep(0.2)
    with pytest.raises(StudyLockedError, match="taken over by pid 77 on host-b"):
        lease.check()
    lease.release()
    assert content_of(path)["token"] == TOKEN


def test_check_notices_a_takeover_before_the_next_heartbeat(path: Path):
    lease = Lease.acquire(path, lease_s=0.5)
    lease._ended.set()  # The heart stops, as in a suspended machine.
    time.sleep(0.4)
    foreign(path, silent_s=0)
    with pytest.raises(StudyLockedError):
        lease.check()


def test_failures_of_the_filesystem_end_no_heart_and_hold_up_writing_after_the_lease(path: Path):
    path.parent.mkdir()
    disk = UnreliableDisk()
    with Lease.acquire(DRIVER_LEASE, root=disk.opened(path.parent), lease_s=1.5) as lease:
        disk.fails = True
        time.sleep(0.2)
        lease.check()  # for less than the lease, nobody else may take it
        time.sleep(1.6)
        with pytest.raises(StorageError, match=r"study cannot be listed: Input/output error \(the lease of .*\)$"):
            lease.check()
        counter = lease.holder.counter
        disk.fails = False
        time.sleep(0.2)
        assert lease.holder.counter > counter, "the heart still beats"
        lease.check()
        disk.fails = True
        time.sleep(0.2)
        disk.fails = False
        foreign(path, silent_s=0)
        time.sleep(0.2)
        with pytest.raises(StudyLockedError, match="taken over by pid 77 on host-b"):
            lease.check()


def test_a_release_that_fails_is_tried_again_and_locks_this_process_out_of_nothing(path: Path):
    path.parent.mkdir()
    disk = UnreliableDisk()
    lease = Lease.acquire(DRIVER_LEASE, root=disk.opened(path.parent), lease_s=0.4)
    disk.fails = True
    lease.release()
    assert not content_of(path)["released"]
    with Lease.acquire(path) as again:
        assert again.term == lease.term + 1
    disk.fails = False
    lease = Lease.acquire(DRIVER_LEASE, root=disk.opened(path.parent), lease_s=0.4)
    disk.fails = True
    lease.release()
    disk.fails = False
    deadline = time.monotonic() + 10
    released = False
    while not released and time.monotonic() < deadline:
        time.sleep(0.02)
        with contextlib.suppress(ValueError):  # it is being written
            released = content_of(path)["released"]
    assert released, "other processes of this host find it free, too"


def test_a_lease_that_cannot_be_read_is_not_free(path: Path):
    root = Root.open(path.parent)
    foreign(path, silent_s=0)
    root.filesystem = FailingDisk("driver-lease-")
    with pytest.raises(StorageError, match="cannot be read"):
        Lease.acquire(DRIVER_LEASE, root=root)
    assert content_of(path)["token"] == TOKEN


DAMAGED = [
    *("", "{", "[]", "null", "7", '{"host": "a"}', "[" * 100_000),
    *({field: value} for field in ("pid", "counter") for value in ("7", 7.5, True, None, -1, 2**64, [], {})),
    *(
        {field: value}
        for field in ("acquired_at", "renewed_at", "lease_s")
        for value in ("7", True, None, math.nan, math.inf, -1, 1e308, 10**400, [])
    ),
    *({field: value} for field in ("process_start", "boot_id", "pid_namespace") for value in (7, True, [], {})),
    *({"host": value} for value in (None, 7, "", [])),
    *({"released": value} for value in (None, 1, "false")),
]


@pytest.mark.parametrize("damage", DAMAGED, ids=lambda damage: str(damage)[:40])
def test_a_damaged_lease_file_is_nobodys(path: Path, damage: str | dict[str, Any]):
    file = foreign(path, silent_s=0)
    sys.set_int_max_str_digits(0)
    file.write_text(damage if isinstance(damage, str) else json.dumps(json.loads(file.read_text()) | damage))
    sys.set_int_max_str_digits(4300)
    root = Root.open(path.parent)
    assert holder_of(root) is None
    assert damaged_lease(root) == file.name
    with Lease.acquire(path) as lease:
        assert lease.term == 2
        assert damaged_lease(root) is None
    assert not file.exists()


def test_object_stores_have_leases_too():
    root = Root(pafs._MockFileSystem(), "bucket", "mock://bucket")
    root.filesystem.create_dir("bucket")
    lease = Lease.acquire(DRIVER_LEASE, root=root, lease_s=0.4)
    with pytest.raises(StudyLockedError):
        Lease.acquire(DRIVER_LEASE, root=root)
    lease.release()
    assert holder_of(root) is None


def test_nobody_holds_what_is_not_there(tmp_path: Path):
    assert holder_of(Root.open(tmp_path / "nowhere")) is None


def test_processes_are_told_apart():
    pid, begun = this_process()
    assert is_alive(pid, begun)
    assert not is_alive(pid, "0")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not is_alive(ended.pid, None)

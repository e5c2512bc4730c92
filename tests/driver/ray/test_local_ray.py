"""A Ray of this machine alone: who can reach it, what keeps it from starting, and a machine that is busy."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from kd_sweep.driver.ray.local_ray import why_not_started
from kd_sweep.tables.reader import open_results
from tests.command_line import COMMAND, Run, Start, environment

RAYLET = Path(ray.__file__).parent / "core" / "src" / "ray" / "raylet" / "raylet"
WORKERS = ("ray::TrialActor", "ray::ResourceTrainable")
LISTENING = "0A"
LOOPBACKS = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
"""127.0.0.1, ::1 and ::ffff:127.0.0.1 as the kernel writes them."""

ONE_TRIAL = ("search.augmentation_strength.grid=[0.5]", "search.ensemble_size.grid=[1]", "student.epochs=1")
SMALL = [word for change in ONE_TRIAL for word in ("--set", change)]


@pytest.fixture
def short() -> Iterator[Path]:
    """A temporary folder whose path is short enough for a socket in it."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        yield Path(folder)


def descendants(pid: int) -> set[int]:
    """Return the ids of a process and of all that it has started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found, rest = set(), [pid]
    while rest:
        found.add(one := rest.pop())
        rest += children.get(one, [])
    return found


def sockets_of(pids: set[int]) -> set[str]:
    """Return the kernel's numbers of the sockets that these processes have open."""
    links = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                links.add(str(descriptor.readlink()))
            except OSError:
                continue
    return {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}


def listening(pids: set[int]) -> set[str]:
    """Return the local addresses, in hexadecimal, on which these processes take TCP connections."""
    inodes = sockets_of(pids)
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()]
    return {line[1].partition(":")[0] for line in lines[1:] if line[3] == LISTENING and line[9] in inodes}


def at_work(pid: int, *names: str) -> set[int]:
    """Return those of a process's descendants whose command line begins so."""
    found = set()
    for one in descendants(pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{one}/cmdline").read_text().startswith(names):
                found.add(one)
    return found


def environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


@pytest.mark.slow
def test_nobody_else_can_reach_the_ray_of_a_local_sweep(
    tiny: Path, short: Path, tmp_path: Path, start_kd_sweep: Start
) -> None:
    """Also where somebody else has `ray` in the temporary folder, and where this user's clusters ask for no token."""
    (short / "ray").write_text("not yours")
    variables = {"TMPDIR": str(short), "HOME": str(tmp_path / "home"), "RAY_AUTH_MODE": "disabled"}
    process = start_kd_sweep("launch", tiny, "--root", tmp_path / "r", *SMALL, variables=variables, forks_workers=False)
    assert process.stdout is not None
    seen: set[str] = set()
    tokens: set[tuple[str, int]] = set()
    modes: set[int] = set()
    for line in process.stdout:
        if "to train" in line or "] teacher " in line or "] trial " in line:
            seen |= listening(descendants(process.pid))
            modes |= {folder.stat().st_mode & 0o777 for folder in short.glob("kd-sweep-ray-*")}
            for raylet in at_work(process.pid, str(RAYLET)):
                given = environment_of(raylet)
                tokens.add((given["RAY_AUTH_MODE"], len(given["RAY_AUTH_TOKEN"])))
    assert process.wait(timeout=60) == 0
    assert seen
    assert seen <= set(LOOPBACKS)
    assert (tokens, modes) == ({("token", 64)}, {0o700})
    assert list(short.glob("kd-sweep-*")) == []
    assert (short / "ray").read_text() == "not yours"
    assert not (tmp_path / "home" / ".ray").exists()


@pytest.mark.slow
def test_a_process_that_crashes_is_told_by_its_signal(tiny: Path, tmp_path: Path, start_kd_sweep: Start) -> None:
    """A process crashes when teachers begin, and one when trials do."""
    longer = (*SMALL, "--set", "student.epochs=40")
    process = start_kd_sweep("launch", tiny, "--root", tmp_path / "r", *longer, forks_workers=False)
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "] teachers: " in line or "] trials: " in line:
            while process.poll() is None and not (hit := at_work(process.pid, *WORKERS)):
                time.sleep(0.05)
            time.sleep(0.5)  # it says who it is before it trains
            os.kill(min(hit), signal.SIGABRT)
    assert process.wait(timeout=60) == 0, said
    lost = r"teacher strength .*, member \d: its process( on 127.0.0.1)? crashed \(SIGABRT\), trying again \(2 of 9\)\n"
    assert re.search(lost, said), said
    assert re.search(r"trial \w+ lost, goes on .*: the trial's process on 127.0.0.1 crashed \(SIGABRT\)\n", said), said


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", [1, *(pytest.param(number, marks=pytest.mark.long) for number in (2, 6))])
def test_a_sweep_starts_and_ends_on_a_busy_machine(number: int, tiny: Path, with_teachers: Path, kd_sweep: Run) -> None:
    """One core with busy loops, which end by themselves; the other cores are for other tests.

    In `make check` it is one loop, beside the sweeps of other tests.
    """
    cores = os.sched_getaffinity(0)
    loop = "import sys, time\nend = time.monotonic() + 400\nwhile time.monotonic() < end: pass"
    os.sched_setaffinity(0, {min(cores)})
    loops = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(number)]
    try:
        while int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]) < number:
            time.sleep(0.5)
        done = kd_sweep("launch", tiny, "--root", with_teachers, *SMALL, timeout=160 * number)
    finally:
        os.sched_setaffinity(0, cores)
        for busy in loops:
            busy.kill()
            busy.wait()
    assert done.returncode == 0, done.stderr
    assert "[0:00] starting Ray\n" in done.stderr
    assert open_results(with_teachers).sql("SELECT status FROM trials").to_pylist() == [{"status": "completed"}]


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the one line with which a launch has been refused."""
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("[0:0")]
    assert len(lines) == 1, done.stderr
    return lines[0].removeprefix("kd-sweep: ")


def test_a_temporary_folder_too_deep_for_sockets_is_refused_before_ray_starts(
    tiny: Path, tmp_path: Path, kd_sweep: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 90)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    said = refused(kd_sweep("launch", tiny, "--root", tmp_path / "r"), 2)
    expected = f"the temporary folder {deep} is too long a path for Ray's sockets: {len(str(deep))} bytes, at most 68"
    assert said.startswith(expected)
    assert said.endswith("set TMPDIR or RAY_TMPDIR to a shorter one")
    assert not (tmp_path / "r").exists()


def test_a_full_temporary_folder_is_refused_before_ray_starts(
    tiny: Path, tmp_path: Path, short: Path, kd_sweep: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "kd-sweep-test", short], check=False)
    if mounted.returncode:
        pytest.skip("a filesystem cannot be mounted here")
    try:
        monkeypatch.setenv("TMPDIR", str(short))
        said = refused(kd_sweep("launch", tiny, "--root", tmp_path / "r"), 2)
        assert said.startswith(
            f"the temporary folder {short} has 1 MiB free, and Ray needs 64; make room, or set TMPDIR"
        )
    finally:
        subprocess.run(["umount", "--lazy", short], check=True)


def launched_by(shell: str, tiny: Path, root: Path) -> subprocess.CompletedProcess[str]:
    """Launch the study from a line of shell that ends with the command."""
    command = shlex.join([*COMMAND, "launch", str(tiny), "--root", str(root)])
    return subprocess.run(
        ["sh", "-c", f"{shell} {command}"], capture_output=True, text=True, env=environment(), timeout=120, check=False
    )


def test_a_machine_without_loopback_is_told_within_seconds(tiny: Path, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no network namespace can be made here")
    said = refused(launched_by("unshare -rn", tiny, tmp_path / "r"), 1)
    assert said.startswith("Ray cannot be started on this machine: its loopback interface, 127.0.0.1, does not work (")
    assert not (tmp_path / "r" / "tiny").exists()


def test_a_limit_of_memory_is_told_within_seconds(tiny: Path, tmp_path: Path) -> None:
    said = refused(launched_by("ulimit -v 3000000;", tiny, tmp_path / "r"), 1)
    assert said == (
        "Ray cannot be started on this machine: processes may have 2.9 GiB of address space (ulimit -v), "
        "and a worker needs 8"
    )


RAYLET_LOG = """\
[2026-11-25 12:55:24,222 I 10596 10596] (raylet) main.cc:283: Setting cluster ID to: e7b6
[2026-11-25 12:55:39,308 C 10596 10596] (raylet) node_manager.cc:3588:  An unexpected system state has occurred. You \
have likely discovered a bug in Ray. Please report this issue at https://github.com/ray-project/ray/issues and we'll \
work with you to fix it. Check failed: statussetor.has_value() Timed out waiting for file /tmp/ray/metrics_agent_port
*** StackTrace Information ***
raylet(+0xff770a) [0x55e7d8cc570a] ray::operator<<()
"""


def test_the_reason_is_that_of_rays_own_log(tmp_path: Path) -> None:
    error = RuntimeError("The current node timed out during startup.\nThis could happen because …")
    assert why_not_started(tmp_path, error) == "The current node timed out during startup."
    for session, log in (
        ("session_2026-11-25_12-00-00_000001_1", "no"),
        ("session_2026-11-25_12-55-23_9_2", RAYLET_LOG),
    ):
        (tmp_path / session / "logs").mkdir(parents=True)
        (tmp_path / session / "logs" / "raylet.err").write_text(log)
    reason = "statussetor.has_value() Timed out waiting for file /tmp/ray/metrics_agent_port (raylet.err)"
    assert why_not_started(tmp_path, error) == reason

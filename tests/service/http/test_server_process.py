"""The server as a process: its address, its log, its end; a port that is taken; clients that do not read."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from kd_sweep.service.access.bad_tokens import ALLOWED
from tests.command_line import environment

ENDLESS = "SELECT levenshtein(repeat('ab', 500000), repeat('ba', 500000))"
Start = Callable[..., "subprocess.Popen[str]"]

PROGRAM = """
import sys, time
from pathlib import Path
from kd_sweep.errors import KdSweepError
from kd_sweep.service.access.roles import Role
from kd_sweep.service.access.tokens import create_token
from kd_sweep.service.http.reading import Reading
from kd_sweep.service.http.server import run_server
from kd_sweep.service.http.serving import Serving
from kd_sweep.service.rows.database import Database

root, state, port = sys.argv[1:]
database = Database(f"sqlite:///{state}/service.db")
with database.changing() as session:
    print(create_token(session, f"t{time.time()}", Role.ADMIN, time.time(), None)[1], flush=True)
try:
    serving = Serving(Reading(root), database, Path(state))
    run_server(serving, "127.0.0.1", int(port), lambda url: print(url, flush=True))
except KdSweepError as error:
    sys.exit(f"kd-sweep: {error}")
print(sorted({"torch", "ray"} & set(sys.modules)), flush=True)
"""


@pytest.fixture
def start(trained_root: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a server on a root with a study, on this port; it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def one(port: int = 0) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", PROGRAM, str(trained_root), str(tmp_path), str(port)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment()))
        return started[-1]

    yield one
    for process in started:
        process.kill()
        process.communicate()


def test_it_says_where_it_listens_logs_json_and_ends_in_order(start: Start) -> None:
    process = start()
    assert process.stdout is not None
    token, url = (process.stdout.readline().strip() for _ in range(2))
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        assert client.get("/api/v1/studies/tiny/queries/summary").status_code == 200
        again = start(int(url.rpartition(":")[2]))
        _, said = again.communicate(timeout=60)
        assert again.returncode == 1
        assert said.strip().splitlines()[-1].startswith("kd-sweep: --host 127.0.0.1, --port ")
        with client.stream("GET", "/api/v1/events") as events:
            assert next(events.iter_lines()).startswith("retry: ")
            begun = time.monotonic()
            process.send_signal(signal.SIGTERM)
            out, log = process.communicate(timeout=60)
            assert time.monotonic() - begun < 30
    assert out.strip() == "[]"
    assert process.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"GET"} == {line["method"] for line in lines if line.get("event") == "request"}
    assert token not in log


def test_who_says_to_come_from_elsewhere_is_counted_all_the_same(start: Start) -> None:
    process = start()
    assert process.stdout is not None
    _, url = (process.stdout.readline().strip() for _ in range(2))
    with httpx.Client(base_url=url, timeout=30) as client:
        for number in range(ALLOWED + 1):
            claims = {"X-Forwarded-For": f"192.0.2.{number}", "X-Real-IP": f"192.0.2.{number}"}
            answer = client.get("/api/v1/studies", headers={"Authorization": "Bearer kds_wrong"} | claims)
        assert answer.status_code == 429
        assert answer.json()["detail"].startswith("token: too many wrong ones from 127.0.0.1; try again in ")


@pytest.mark.parametrize(
    ("path", "module"),
    [
        (f"sql?query={quote(ENDLESS)}", b"http.statements"),  # which does not listen
        ("studies/tiny/analysis", b"analysis_process"),
    ],
)
def test_what_takes_long_ends_with_the_server(start: Start, path: str, module: bytes) -> None:
    process = start()
    assert process.stdout is not None
    token, url = (process.stdout.readline().strip() for _ in range(2))
    request = f"GET /api/v1/{path} HTTP/1.1\r\nHost: {url.removeprefix('http://')}\r\n"
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60) as asking:
        asking.sendall(f"{request}Authorization: Bearer {token}\r\n\r\n".encode())
        deadline = time.monotonic() + 60
        while not (answering := children_of(process.pid, module)):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        for child in answering:
            os.kill(int(child.name), signal.SIGSTOP)  # by itself it would never end
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert not any(child.exists() for child in answering)


def children_of(pid: int, module: bytes) -> list[Path]:
    """Return the processes of a server that run a module."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    found = [Path(f"/proc/{child}") for path in children for child in path.read_text().split()]
    return [path for path in found if module in (path / "cmdline").read_bytes()]


def test_clients_that_send_half_a_request_or_never_read_keep_nobody_waiting(start: Start) -> None:
    process = start()
    assert process.stdout is not None
    token, url = (process.stdout.readline().strip() for _ in range(2))
    address = ("127.0.0.1", int(url.rpartition(":")[2]))
    request = (
        f"GET /api/v1/events HTTP/1.1\r\nHost: {url.removeprefix('http://')}\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    idle = []
    for number in range(400):
        one = socket.create_connection(address, timeout=30)
        one.sendall(request.encode() if number % 2 else b"GET / HTTP/1.1\r\nHost: ")
        idle.append(one)
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        begun = time.monotonic()
        assert client.get("/api/v1/studies/tiny/trials").status_code == 200
        assert time.monotonic() - begun < 30
        assert client.get("/api/v1/events").status_code == 429
        long = socket.create_connection(address, timeout=30)
        long.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)
        assert long.recv(100).startswith(b"HTTP/1.1 4")
        long.close()
        for one in idle:
            one.close()
        assert client.get("/readyz").status_code == 200
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0

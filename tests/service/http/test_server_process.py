"""The server as a process: its address, its log, its end; a port that is taken; clients that do not read."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.command_line import environment

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


def start(root: Path, state: Path, port: int = 0) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), str(state), str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def test_it_says_where_it_listens_logs_json_and_ends_in_order(trained_root: Path, tmp_path: Path) -> None:
    process = start(trained_root, tmp_path)
    assert process.stdout is not None
    token, url = (process.stdout.readline().strip() for _ in range(2))
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30) as client:
        assert client.get("/api/v1/studies/tiny/queries/summary").status_code == 200
        again = start(trained_root, tmp_path, int(url.rpartition(":")[2]))
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


def test_clients_that_send_half_a_request_or_never_read_keep_nobody_waiting(trained_root: Path, tmp_path: Path) -> None:
    process = start(trained_root, tmp_path)
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

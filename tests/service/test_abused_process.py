"""`kd-sweep serve` as a process that is abused over real connections, while nobody reads its log.

Its patience is shorter than a user's service has, and it may open 400 files.
"""

import http.client
import json
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from benchmarks.generated_study import write
from tests.command_line import environment
from tests.service.running_service import TLS
from tests.tiny_study import TINY

PROGRAM = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (400, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
from kd_sweep.service.http import guards
from kd_sweep.service.http.listening import client_connection
client_connection.HEAD_S, client_connection.STALL_S, client_connection.CHECK_S, guards._BODY_S = 4.0, 4.0, 0.5, 4.0
from kd_sweep.cli import main
main()
"""
MOST_CONNECTIONS = 200
MOST_GROWN_BYTES = 300 * 1024**2


@dataclass
class Abused:
    """The service, the token of its admin, and what it must still have when everything is over."""

    process: "subprocess.Popen[bytes]"
    url: str
    token: str
    root: Path

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def client(self, **headers: str) -> httpx.Client:
        authorized = {"Authorization": f"Bearer {self.token}"} | headers
        return httpx.Client(base_url=f"{self.url}/api/v1", timeout=60, headers=authorized, verify=TLS)

    def open(self, request: str, receive_bytes: int | None = None) -> socket.socket:
        """Open a connection and send the beginning of a request, or all of it."""
        sock = socket.socket()
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(30)
        sock.connect(self.address)
        sock.sendall(request.replace("\n", "\r\n").encode())
        return sock

    def head(self, line: str, **headers: str) -> str:
        """Return the head of a request with the token."""
        named = {"Host": self.url.removeprefix("http://"), "Authorization": f"Bearer {self.token}"} | headers
        return f"{line} HTTP/1.1\n" + "".join(f"{name}: {value}\n" for name, value in named.items()) + "\n"

    def num_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def num_files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def content(self) -> dict[str, object]:
        """Return what nobody here may change: rows, files of the root, memory of who did what."""
        with self.client() as client:
            read = {path: client.get(f"/{path}").json() for path in ("audit", "webhooks", "studies")}
            read["tokens"] = [one["name"] for one in client.get("/tokens").json()["tokens"]]
        files = sorted((str(path), path.stat().st_mtime_ns) for path in (self.root / "large").rglob("*"))
        return read | {"files": files, "root": sorted(path.name for path in self.root.iterdir())}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Abused]:
    folder = tmp_path_factory.mktemp("abused")
    write(folder / "root", "large", num_trials=100, num_epochs=100)
    arguments = ["serve", folder / "root", "--state", folder / "state", "--port", "0", "--address", "127.0.0.1:9"]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,  # nobody reads it until the end, and a pipe holds 300 requests
        env=environment(),
    )
    assert process.stdout is not None
    try:
        url, token = (process.stdout.readline().decode().strip() for _ in range(2))
        yield Abused(process, url, token, folder / "root")
        process.terminate()
        _, log = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert token not in log.decode()


@pytest.fixture(autouse=True)
def unchanged(service: Abused) -> Iterator[None]:
    """Hold the service to what it was before: it answers, has changed nothing, and is no larger."""
    before, size = service.content(), service.num_bytes()
    yield
    assert service.process.poll() is None
    assert service.content() == before
    assert service.num_bytes() - size < MOST_GROWN_BYTES


def is_cut(sock: socket.socket) -> bool:
    """Read what comes until the other side ends the connection; whether it does."""
    try:
        while sock.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def test_silent_connections_make_room_and_are_cut(service: Abused) -> None:
    silent = [service.open("GET /healthz HTTP/1.1\nHost: ") for _ in range(MOST_CONNECTIONS * 3 // 2)]
    half = [service.open(service.head("POST /api/v1/sql", **{"Content-Length": "100"}) + "{") for _ in range(20)]
    with service.client() as client:
        for _ in range(5):
            assert client.get("/studies").status_code == 200
    assert service.num_files() < 400
    assert is_cut(silent[0])
    assert all(is_cut(sock) for sock in silent[-5:])
    answers = Counter(sock.recv(12) for sock in half)  # or there was no room for them yet
    assert set(answers) <= {b"HTTP/1.1 408", b"HTTP/1.1 503"}
    for sock in silent + half:
        sock.close()


def test_half_of_a_study_is_none(service: Abused) -> None:
    sock = service.open(
        service.head("POST /api/v1/studies", **{"Content-Length": "4000", "Content-Type": "application/yaml"}) + TINY
    )
    sock.close()
    time.sleep(0.5)


def test_of_a_thousand_streams_some_are_open(service: Abused) -> None:
    statuses: Counter[bytes] = Counter()
    streams = []
    for _ in range(1000):
        sock = service.open(service.head("GET /api/v1/events"))
        status = sock.recv(12)[9:]
        statuses[status] += 1
        if status == b"200":
            streams.append(sock)
        else:
            sock.close()
    assert statuses == {b"200": 128, b"429": 872}
    with service.client() as client:
        assert client.get("/studies").status_code == 200
        assert service.num_files() < 400
        for sock in streams:
            sock.close()
        deadline = time.monotonic() + 30
        while "kd_sweep_event_streams 0" not in client.get(f"{service.url}/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_clients_that_do_not_read_are_cut_and_hold_little(service: Abused) -> None:
    table = service.head("GET /api/v1/tables/epochs?format=csv")
    statement = service.head("GET /api/v1/sql?query=SELECT+*+FROM+range(3000000)&format=arrow")
    with service.client() as client:
        slow = [service.open(request, receive_bytes=4096) for request in [table] * 2 + [statement] * 8]
        for _ in range(3):
            assert client.get("/studies/large/trials", params={"limit": 10}).status_code == 200
    statuses = [sock.recv(12)[9:] for sock in slow]
    assert set(statuses) == {b"200", b"429"}  # so much is held for those who do not read
    time.sleep(6.0)
    assert all(is_cut(sock) for sock, status in zip(slow, statuses, strict=True) if status == b"200")
    for sock in slow:
        sock.close()


@pytest.mark.parametrize("number", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
def test_many_wrong_tokens(service: Abused, number: int) -> None:
    address = f"127.1.0.{number // 1000}"  # its own: one that was paused a moment ago is only refused
    statuses: Counter[int] = Counter()
    lock = threading.Lock()

    def attack(thread: int) -> None:
        connection = http.client.HTTPConnection(*service.address, timeout=60, source_address=(address, 0))
        for one in range(number // 4):
            headers = {"Authorization": f"Bearer kds_{thread}{one:042d}"}
            connection.request("GET", "/api/v1/studies", headers=headers)
            answer = connection.getresponse()
            answer.read()
            with lock:
                statuses[answer.status] += 1

    threads = [threading.Thread(target=attack, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    with service.client() as client:
        while any(thread.is_alive() for thread in threads):
            assert client.get("/session").status_code == 200  # the right one is let through
            time.sleep(0.2)
    assert statuses.total() == number
    assert statuses[429] > number * 9 // 10
    assert set(statuses) == {401, 429}


JSON = {"Content-Type": "application/json"}
NEW = json.dumps({"name": "stolen", "role": "admin"})


@pytest.mark.parametrize(
    ("line", "headers", "body", "expected"),
    [
        ("GET /api/v1/studies/large/files/../../../state/service.sqlite", {}, "", {404, 422}),
        ("GET /api/v1/studies/large/files/..%2f..%2f..%2fstate%2fservice.sqlite", {}, "", {404, 422}),
        ("GET /page/x/../../../../etc/passwd", {}, "", {404, 422}),
        ("GET /api/v1/tokens", {"Host": "evil.example"}, "", {421}),
        ("POST /api/v1/tokens", JSON | {"Origin": "http://evil.example"}, NEW, {403}),
        ("DELETE /api/v1/studies/large", {"Origin": "http://evil.example"}, "", {403}),
        ("DELETE /api/v1/tokens/admin", {"Sec-Fetch-Site": "cross-site"}, "", {403}),
        ("POST /api/v1/tokens", {"Content-Type": "application/x-www-form-urlencoded"}, "name=a&role=admin", {415}),
        ("POST /api/v1/tokens", {"Content-Type": "text/plain"}, NEW, {415}),
        ("POST /api/v1/studies", JSON | {"Content-Length": "99999999999"}, "", {413}),
        ("POST /api/v1/studies", JSON | {"Content-Length": "-1"}, "", {400, 413}),
        ("GET / HTTP/1.1\nX: " + "x" * 100_000 + "\nGET /", {}, "", {400, 431}),
        ("BREW /api/v1/studies", JSON, "{}", {404, 405}),
        ("POST /api/v1/tokens", JSON | {"Authorization": "", "Cookie": "STOLEN"}, NEW, {403}),
        ("DELETE /api/v1/studies/large", {"Authorization": "", "Cookie": "STOLEN"}, "", {403}),
    ],
)
def test_requests_of_others_are_refused(
    service: Abused, line: str, headers: dict[str, str], body: str, expected: set[int]
) -> None:
    if headers.get("Cookie") == "STOLEN":
        signed_in = httpx.post(f"{service.url}/api/v1/session", json={"token": service.token})
        headers = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
        request = service.head(line, **{"Content-Length": str(len(body))} | JSON | headers)
        request = re.sub(r"Authorization: .*\n", "", request)
    else:
        request = service.head(line, **{"Content-Length": str(len(body))} | headers)
    with service.open(request + body) as sock:
        answer = sock.recv(200)
    assert int(answer.split()[1]) in expected, answer


@pytest.mark.parametrize("way", ["GET", "POST"])
def test_sql_that_is_no_question_is_refused(service: Abused, way: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("password\nopen sesame\n")
    statements = [
        *("DROP TABLE trials", "DELETE FROM epochs", "INSERT INTO trials VALUES (1)", "SELECT 1; DROP TABLE trials"),
        *(f"COPY trials TO '{tmp_path}/x.csv'", f"EXPORT DATABASE '{tmp_path}/x'", f"ATTACH '{tmp_path}/x.db'"),
        *(
            "INSTALL httpfs",
            "LOAD httpfs",
            "SET enable_external_access = true",
            "PRAGMA version",
            "CALL pragma_version()",
        ),
        *(f"SELECT * FROM read_csv('{secret}')", f"FROM '{secret}'", f"SELECT * FROM glob('{tmp_path}/*')"),
        *("SELECT * FROM read_parquet('s3://bucket/x')", "SELECT * FROM 'https://example.org/x.csv'"),
        *("EXPLAIN ANALYZE CREATE TABLE x AS SELECT 1", "SELECT \u0000"),
    ]
    with service.client() as client:
        for statement in statements:
            if way == "POST":
                answer = client.post("/sql", json={"query": statement})
            else:
                answer = client.get("/sql", params={"query": statement})
            assert answer.status_code == 422, (statement, answer.text)
            assert "sesame" not in answer.text
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]

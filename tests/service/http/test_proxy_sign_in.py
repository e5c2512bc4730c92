"""People whom a proxy signs in: what they may, and that nobody else can say who they are. With a real nginx, too."""

import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from kd_sweep.service.access.bad_tokens import BadTokens
from kd_sweep.service.access.roles import Role
from kd_sweep.service.access.sign_in_file import load_sign_in
from tests.project.pages import ROOT
from tests.service.running_service import RunningService, running

SECRET = "0123456789abcdef" * 4
SHOWN, USER, GROUPS = "X-KD-Sweep-Proxy-Secret", "X-Forwarded-Email", "X-Forwarded-Groups"
ANNA, BOB = "anna@example.org", "bob@example.org"
NEW = {"name": "new", "role": "viewer"}
NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service that believes a proxy, as the recipe says it."""
    folder = tmp_path_factory.mktemp("proxied")
    (folder / "proxy-secret").write_text(SECRET)
    (folder / "proxy-secret").chmod(0o600)
    (folder / "root").mkdir()
    shutil.copy(ROOT / "cluster/service/sign-in.yaml", folder)
    sign_in = load_sign_in(folder / "sign-in.yaml")
    with running(folder / "root", folder, sign_in=sign_in, bad_tokens=BadTokens(allowed=1000)) as started:
        yield started


def by_proxy(service: RunningService, user: str, groups: str = "", **headers: str) -> httpx.Client:
    """Return what the proxy sends on for somebody."""
    shown = {SHOWN: SECRET, USER: user, GROUPS: groups} | headers
    return service.client(None, headers={name: value for name, value in shown.items() if value})


def raw(service: RunningService, headers: list[tuple[str, str]], path: str = "/api/v1/session") -> tuple[int, Any]:
    """Send headers as they are, some of them twice; return status and content."""
    connection = http.client.HTTPConnection(service.host, timeout=30)
    connection.putrequest("GET", path)
    for name, value in headers:
        connection.putheader(name, value.encode())
    connection.endheaders()
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


def test_whom_the_proxy_names_has_the_role_that_the_file_gives(service: RunningService) -> None:
    for user, groups, role in ((ANNA, "", "admin"), (BOB, "all, sweeps", "operator"), (BOB, "all", "viewer")):
        with by_proxy(service, user, groups) as client:
            answer = client.get("/api/v1/session")
            assert answer.status_code == 200, answer.text
            assert (answer.json()["name"], answer.json()["role"]) == (user, role)
            assert answer.json()["proxy"] == {"sign_out": "/oauth2/sign_out"}
            assert "set-cookie" not in answer.headers
            assert client.get("/api/v1/audit").status_code == (200 if role == "admin" else 403)


def test_a_change_needs_what_only_the_page_can_read_and_is_recorded_by_name(service: RunningService) -> None:
    with by_proxy(service, BOB) as bob:
        of_bob = bob.get("/api/v1/session").json()["csrf"]
    with by_proxy(service, ANNA) as anna:
        for shown in ("", "x", of_bob):
            assert anna.post("/api/v1/tokens", json=NEW, headers={"X-CSRF-Token": shown}).status_code == 403
        anna.headers["X-CSRF-Token"] = anna.get("/api/v1/session").json()["csrf"]
        for foreign in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
            assert anna.post("/api/v1/tokens", json=NEW, headers=foreign).status_code in (403, 421)
        assert anna.post("/api/v1/tokens", json=NEW).status_code == 201
        row = anna.get("/api/v1/audit").json()["changes"][0]
        assert (row["who"], row["role"], row["action"]) == (ANNA, "admin", "token.create")
        assert row["detail"]["signed_in_by"] == "proxy"
        refused = anna.delete("/api/v1/session")
        assert refused.status_code == 409
        assert "it ends where the proxy signs people out" in refused.json()["detail"]


def test_a_name_without_the_secret_is_refused_whatever_else_is_shown(service: RunningService) -> None:
    with service.client(None) as browser:
        cookie = browser.post("/api/v1/session", json={"token": service.tokens[Role.ADMIN]}).headers["set-cookie"]
    token = {"Authorization": f"Bearer {service.tokens[Role.ADMIN]}"}
    for others in ({}, token, {"Cookie": cookie.partition(";")[0]}, {SHOWN: "0" * 64}, {SHOWN: SECRET[:-1]}):
        for named in ({USER: ANNA}, {GROUPS: "sweeps"}, {USER.lower(): ANNA}):
            with service.client(None, headers=others | named) as client:
                answer = client.get("/api/v1/session")
                assert answer.status_code == 403, (others, named)
                assert answer.json()["detail"].startswith(f"{USER} and {GROUPS}: only the proxy says that")
                assert SECRET not in answer.text
    wrong = [service.client(None, headers={SHOWN: "wrong"}).get("/api/v1/session") for _ in range(2)]
    assert [answer.status_code for answer in wrong] == [403, 403]


def test_the_proxys_word_counts_before_a_cookie_and_a_token(service: RunningService) -> None:
    with service.client(None) as browser:
        browser.post("/api/v1/session", json={"token": service.tokens[Role.ADMIN]})
        cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    for other in ({"Cookie": cookie}, {"Authorization": f"Bearer {service.tokens[Role.ADMIN]}"}):
        with by_proxy(service, BOB, **other) as client:
            assert client.get("/api/v1/session").json()["role"] == "viewer"
            assert client.get("/api/v1/tokens").status_code == 403
    with service.client() as client:  # a program, of which the proxy says nothing
        assert client.get("/api/v1/session", headers={SHOWN: SECRET}).json()["name"] == "the admin"
        assert client.get("/api/v1/session").json()["proxy"] is None


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ([(USER, BOB), (USER, ANNA)], 400, "X-Forwarded-Email: came 2 times"),
        ([(USER, BOB), (USER.lower(), ANNA)], 400, "X-Forwarded-Email: came 2 times"),
        ([(USER, f"{BOB}, {ANNA}")], 400, "names more than one"),
        ([(USER, BOB), (GROUPS, "all"), (GROUPS, "sweeps")], 400, "X-Forwarded-Groups: came 2 times"),
        ([(GROUPS, "sweeps")], 400, "is not a name of 1 to 100 characters"),
        ([(USER, "x" * 101)], 400, "is not a name of 1 to 100 characters"),
        ([(USER, "anna\u202e@example.org")], 400, "is not printable"),
        ([(USER, "anna\t@example.org")], 400, "is not printable"),
        ([(USER, "жанна@example.org")], 200, "жанна@example.org"),
        ([(USER, "")], 401, "token: is missing"),
        ([(USER, "  ")], 401, "token: is missing"),
        ([(SHOWN, SECRET), (USER, BOB)], 400, f"{SHOWN}: came 2 times"),
        ([(USER, BOB), ("X_Forwarded_Email", ANNA), ("X_Forwarded_Groups", "sweeps")], 200, BOB),
        ([(USER, BOB), ("X-Forwarded-Email ", ANNA)], 400, ""),
        ([("X_Forwarded_Email", ANNA)], 401, "token: is missing"),
    ],
)
def test_a_name_that_can_be_read_in_two_ways_is_refused(
    service: RunningService, headers: list[tuple[str, str]], status: int, said: str
) -> None:
    if any(name.endswith(" ") for name, _ in headers):  # no client sends it: a line of its own
        lines = "".join(f"{name}: {value}\r\n" for name, value in [(SHOWN, SECRET), *headers])
        with socket.create_connection(service.host.split(":"), timeout=30) as connection:  # type: ignore[arg-type]
            connection.sendall(f"GET /api/v1/session HTTP/1.1\r\nHost: {service.host}\r\n{lines}\r\n".encode())
            assert connection.recv(100).startswith(b"HTTP/1.1 400")
        return
    found, content = raw(service, [(SHOWN, SECRET), *headers])
    assert found == status, content
    assert said in content.get("detail", content.get("name"))
    assert content.get("role") in (None, "viewer")


def test_who_has_no_role_is_told_so(service: RunningService, tmp_path: Path) -> None:
    (tmp_path / "proxy-secret").write_text(SECRET)
    (tmp_path / "proxy-secret").chmod(0o600)
    (tmp_path / "sign-in.yaml").write_text(
        "proxy: {secret_file: proxy-secret, user_header: Remote-User}\nroles: {admin: {users: [anna]}}\n"
    )
    with (
        running(tmp_path, tmp_path, sign_in=load_sign_in(tmp_path / "sign-in.yaml")) as alone,
        alone.client(None, headers={SHOWN: SECRET}) as client,
    ):
        assert client.get("/api/v1/session", headers={"Remote-User": "anna"}).json()["role"] == "admin"
        refused = client.get("/api/v1/session", headers={"Remote-User": "bob"})
        assert refused.status_code == 403
        assert refused.json()["detail"] == "sign-in: 'bob' has no role here; whoever runs this service gives roles"
        assert client.get("/api/v1/session", headers={"Remote-User": "bob", GROUPS: "admin"}).status_code == 403
        assert alone.client().get("/api/v1/session", headers={USER: ANNA}).json()["name"] == "the admin"
    with service.client(headers={"Remote-User": "anna"}) as client:  # a header that this one gives no meaning
        assert client.get("/api/v1/session").json()["name"] == "the admin"


def test_the_proxy_alone_says_from_where_a_request_comes(service: RunningService, tmp_path: Path) -> None:
    options = {"sign_in": service.serving.sign_in, "bad_tokens": BadTokens(allowed=2)}
    with running(tmp_path, tmp_path, **options) as counting, counting.client(None) as client:

        def statuses(forwarded: str, **shown: str) -> list[int]:
            headers = {"X-Forwarded-For": forwarded, "Authorization": "Bearer kds_wrong"} | shown
            return [client.get("/api/v1/session", headers=headers).status_code for _ in range(3)]

        assert statuses("192.0.2.1", **{SHOWN: SECRET}) == [401, 401, 429]
        assert statuses("192.0.2.1, 192.0.2.2", **{SHOWN: SECRET}) == [401, 401, 429]  # the first is the client's word
        assert statuses("192.0.2.3, 192.0.2.1", **{SHOWN: SECRET}) == [429, 429, 429]
        assert statuses("192.0.2.4") == [401, 401, 429]
        assert statuses("192.0.2.5") == [429, 429, 429]
        assert statuses("nobody", **{SHOWN: SECRET}) == [429, 429, 429]


# --- behind nginx, as in cluster/service/ -----------------------------------------------------------------------------


class SignedIn(BaseHTTPRequestHandler):
    """What nginx asks who somebody is, in place of oauth2-proxy: the cookie says it."""

    def do_GET(self) -> None:
        user, _, groups = self.headers.get("Cookie", "").removeprefix("_oauth2_proxy=").partition("/")
        self.send_response(202 if user else 401)
        if user:
            self.send_header("X-Auth-Request-Email", user)
            self.send_header("X-Auth-Request-Groups", groups)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def nginx(service: RunningService, tmp_path: Path) -> Iterator[str]:
    """The address of an nginx with the recipe's configuration, but for TLS, ports and paths."""
    port = free_port()
    (tmp_path / "secret.conf").write_text(f'proxy_set_header X-KD-Sweep-Proxy-Secret "{SECRET}";\n')
    with ThreadingHTTPServer(("127.0.0.1", 0), SignedIn) as signed_in:
        threading.Thread(target=signed_in.serve_forever, daemon=True).start()
        text = re.sub(r"(?m)^ *ssl_\w+ .*\n", "", (ROOT / "cluster/service/nginx.conf").read_text())
        for old, new in (
            ("listen 443 ssl", f"listen 127.0.0.1:{port}"),
            ("127.0.0.1:8400", service.host),
            ("127.0.0.1:4180", f"127.0.0.1:{signed_in.server_port}"),
            ("/etc/nginx/kd-sweep-secret.conf", f"{tmp_path}/secret.conf"),
        ):
            assert old in text
            text = text.replace(f"{old};", f"{new};")
        places = "".join(
            f"{name}_temp_path {tmp_path}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (tmp_path / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr;\n"
            f"events {{}}\nhttp {{ access_log off;\n{places}{text}}}\n"
        )
        command = [str(NGINX), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-e", "stderr"]
        process = subprocess.Popen(command, stderr=(tmp_path / "log").open("w"))
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
        process.terminate()
        process.wait(30)
        signed_in.shutdown()


@pytest.mark.skipif(NGINX is None, reason="needs nginx: apt-get install nginx-light")
def test_behind_nginx_a_browser_cannot_say_who_it_is(service: RunningService, nginx: str) -> None:
    with httpx.Client(base_url=nginx, headers={"Cookie": f"_oauth2_proxy={ANNA}/"}, timeout=30) as anna:
        session = anna.get("/api/v1/session").json()
        assert (session["name"], session["role"]) == (ANNA, "admin")
        assert "kd_sweep" in anna.get("/").text
        headers = {"X-CSRF-Token": session["csrf"], "Origin": nginx, "Sec-Fetch-Site": "same-origin"}
        assert anna.post("/api/v1/tokens", json=NEW | {"name": "by nginx"}, headers=headers).status_code == 201
        assert anna.post("/api/v1/tokens", json=NEW, headers={"Origin": nginx}).status_code == 403
        with anna.stream("GET", "/api/v1/events") as events:
            assert next(events.iter_lines()).startswith("retry: ")
    claims = {USER: ANNA, GROUPS: "sweeps", SHOWN: SECRET, "X_Forwarded_Email": ANNA}
    with httpx.Client(base_url=nginx, headers={"Cookie": f"_oauth2_proxy={BOB}/", **claims}, timeout=30) as bob:
        assert (bob.get("/api/v1/session").json()["name"], bob.get("/api/v1/session").json()["role"]) == (BOB, "viewer")
        stripped = bob.get("/api/v1/session", headers={"Connection": f"close, {SHOWN}, {USER}"})
        assert stripped.json().get("role", "viewer") == "viewer"
    with httpx.Client(base_url=nginx, headers=claims, timeout=30) as nobody:
        led = nobody.get("/")
        assert (led.status_code, led.headers["location"]) == (302, f"{nginx}/oauth2/start?rd=/")
        assert nobody.get("/api/v1/session").status_code == 401
        assert nobody.get("/oauth2/auth").status_code == 404
    with httpx.Client(base_url=nginx, timeout=30) as program:
        program.headers["Authorization"] = f"Bearer {service.tokens[Role.OPERATOR]}"
        assert program.get("/api/v1/session").json()["name"] == "the operator"
        assert program.get("/api/v1/session", headers={USER: ANNA}).status_code == 403
        program.headers["Authorization"] = "Bearer kds_wrong"
        assert program.get("/api/v1/session").status_code == 401

"""Requests that a foreign page makes, or somebody without a right to: all refused, and nothing changed."""

import http.client
import json
from collections.abc import Iterator

import httpx
import pytest

from kd_sweep.service.access.browser_sessions import COOKIE
from kd_sweep.service.access.roles import Role
from kd_sweep.service.http.guards import GuardSettings
from tests.service.running_service import RunningService

NEW = {"name": "stolen", "role": "admin"}


@pytest.fixture
def unchanged(service: RunningService) -> Iterator[RunningService]:
    """The service, whose tokens and whose record of changes are the same afterwards; and it still answers."""

    def content() -> list[object]:
        with service.client() as client:
            return [client.get(f"/api/v1/{what}").json() for what in ("audit",)] + [
                [token["name"] for token in client.get("/api/v1/tokens").json()["tokens"]]
            ]

    before = content()
    yield service
    assert content() == before


@pytest.fixture
def browser(service: RunningService) -> Iterator[httpx.Client]:
    """A client with the cookie of an admin's session, and no token."""
    with service.client(None) as client:
        answer = client.post("/api/v1/session", json={"token": service.tokens[Role.ADMIN]})
        assert answer.status_code == 200, answer.text
        client.headers["X-CSRF-Token"] = answer.json()["csrf"]
        yield client


def test_the_cookie_of_a_browser_that_comes_by_https_stays_there(service: RunningService) -> None:
    with service.client(None) as browser:
        for scheme, is_secure in (("http", False), ("https", True)):
            headers = {"Origin": f"{scheme}://{service.host}", "X-Forwarded-Proto": "https"}
            token = {"token": service.tokens[Role.ADMIN]}
            answer = browser.post("/api/v1/session", json=token, headers=headers)
            assert answer.status_code == 200, answer.text
            assert ("; secure" in answer.headers["set-cookie"].lower()) == is_secure


def test_a_session_works_with_its_csrf_token_alone(service: RunningService, browser: httpx.Client) -> None:
    with service.client(None) as anybody:
        signed_in = anybody.post("/api/v1/session", json={"token": service.tokens[Role.ADMIN]})
        cookie = signed_in.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert browser.get("/api/v1/session").json()["csrf"] == browser.headers["X-CSRF-Token"]
    assert browser.post("/api/v1/tokens", json={"name": "of the page", "role": "viewer"}).status_code == 201
    assert browser.delete("/api/v1/tokens/of the page").status_code == 204
    for shown in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": signed_in.json()["csrf"]}):
        browser.headers.pop("X-CSRF-Token", None)
        answer = browser.post("/api/v1/tokens", json=NEW, headers=shown)
        assert answer.status_code == 403
        assert "X-CSRF-Token" in answer.json()["detail"]


def test_signing_out_ends_the_session(browser: httpx.Client) -> None:
    cookie = browser.cookies[COOKIE]
    assert browser.delete("/api/v1/session").status_code == 204
    assert browser.get("/api/v1/session", headers={"Cookie": f"{COOKIE}={cookie}"}).status_code == 401


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_foreign_origin_changes_nothing(
    unchanged: RunningService, browser: httpx.Client, method: str, origin: str
) -> None:
    for client in (browser, unchanged.client()):
        for path in ("/api/v1/tokens", "/api/v1/tokens/the viewer"):
            answer = client.request(method, path, headers={"Origin": origin}, json=NEW)
            assert answer.status_code == 403
            assert answer.json()["detail"].startswith("Origin: ")
            assert "access-control-allow-origin" not in answer.headers


def test_the_pages_own_origin_is_let_through(service: RunningService) -> None:
    with service.client() as client:
        headers = {"Origin": service.url, "Sec-Fetch-Site": "same-origin"}
        assert client.post("/api/v1/sql", json={"query": "SELECT 1"}, headers=headers).status_code == 200
        assert (
            client.post("/api/v1/sql", json={"query": "SELECT 1"}, headers={"Sec-Fetch-Site": "cross-site"}).status_code
            == 403
        )


def test_a_browser_that_asks_first_gets_no_permission(unchanged: RunningService) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "DELETE"}
    with unchanged.client(None) as client:
        answer = client.options("/api/v1/tokens/the viewer", headers=headers)
    assert answer.status_code in (403, 405)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8400", "127.0.0.1.evil.example", "", "[", "10.0.0.1"])
def test_a_rebound_name_is_refused_also_for_reading(unchanged: RunningService, host: str) -> None:
    with unchanged.client() as client:
        answer = client.get("/api/v1/tokens", headers={"Host": host})
        assert answer.status_code in (400, 421), answer.text
        answer = client.post("/api/v1/tokens", json=NEW, headers={"Host": host, "Origin": f"http://{host}"})
        assert answer.status_code in (400, 421)


def test_probes_may_come_by_any_name_and_names_that_are_given_count(service: RunningService) -> None:
    with service.client(None) as client:
        assert client.get("/healthz", headers={"Host": "10.1.2.3:8400"}).status_code == 200
    assert GuardSettings(frozenset({"sweeps.example"})).hosts == {"sweeps.example"}


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"])
def test_what_a_form_can_send_is_refused(unchanged: RunningService, browser: httpx.Client, kind: str) -> None:
    answer = browser.post("/api/v1/tokens", content=json.dumps(NEW), headers={"Content-Type": kind})
    assert answer.status_code == 415


def test_bodies_are_bounded_whether_they_say_their_length_or_not(unchanged: RunningService) -> None:
    limit = unchanged.serving.guards.max_body_bytes
    with unchanged.client() as client:
        assert (
            client.post(
                "/api/v1/sql", content=b"x" * (limit + 1), headers={"Content-Type": "application/json"}
            ).status_code
            == 413
        )
        chunks = (b"x" * 65_536 for _ in range(limit // 65_536 + 2))
        try:
            answer = client.post("/api/v1/sql", content=chunks, headers={"Content-Type": "application/json"})
            assert answer.status_code == 413
        except httpx.TransportError:
            pass  # the service has closed the connection in the middle of the body
        assert client.get("/readyz").status_code == 200
        nested = '{"query":' + "[" * 100_000 + "]" * 100_000 + "}"
        assert client.post("/api/v1/sql", content=nested, headers={"Content-Type": "application/json"}).status_code in (
            400,
            422,
        )


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/studies/../../etc/passwd",
        "/api/v1/studies/..%2f..%2fetc/trials",
        "/api/v1/studies/%2e%2e/trials",
        "/api/v1/studies/teachers/trials",
        "/api/v1/tables/..%2ftrials",
        "/api/v1/studies/.hidden/trials",
    ],
)
def test_no_path_leads_out_of_the_root(unchanged: RunningService, path: str) -> None:
    """Sent as it is: clients such as httpx would tidy it up before."""
    connection = http.client.HTTPConnection(unchanged.host, timeout=30)
    connection.request("GET", path, headers={"Authorization": f"Bearer {unchanged.tokens[Role.ADMIN]}"})
    answer = connection.getresponse()
    assert answer.status in (404, 422), answer.read()
    connection.close()


def test_many_bad_tokens_are_slowed_down_and_the_right_one_still_works(unchanged: RunningService) -> None:
    with unchanged.client(None) as client:
        statuses = []
        for number in range(60):
            answer = client.get("/api/v1/session", headers={"Authorization": f"Bearer kds_{number:043d}"})
            statuses.append(answer.status_code)
        assert set(statuses) == {401, 429}
        assert statuses.count(401) <= 20
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert client.post("/api/v1/session", json={"token": "kds_wrong"}).status_code == 429
    with unchanged.client(Role.VIEWER) as client:
        assert client.get("/api/v1/session").status_code == 200


def test_answers_forbid_inline_code_and_foreign_frames(admin: httpx.Client) -> None:
    for path in ("/api/v1/session", "/no/such/path", "/healthz"):
        headers = admin.get(path).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"

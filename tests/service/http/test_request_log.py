"""The log has a JSON line for each request, under the id that its answer has, and no secrets."""

import json
import logging

import httpx
import pytest
from prometheus_client import parser

from kd_sweep.service.access.roles import Role
from kd_sweep.service.http.request_log import LOG, JsonLines
from tests.polling import until
from tests.service.running_service import RunningService


@pytest.fixture
def lines() -> list[str]:
    written: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.append(JsonLines().format(record))

    handler = Lines()
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    yield written
    LOG.removeHandler(handler)


def test_a_request_is_one_line_of_json(service: RunningService, lines: list[str]) -> None:
    with service.client(Role.VIEWER) as client:
        answer = client.get("/api/v1/session?x=kds_secret", headers={"X-Request-Id": "my-request-1"})
        bad = client.get("/api/v1/tokens", headers={"X-Request-Id": 'no"id'})
    assert answer.headers["x-request-id"] == "my-request-1"
    until(lambda: len(lines) == 2)  # a line is written behind its answer
    first, second = (json.loads(line) for line in lines)
    assert (first["request_id"], first["path"], first["status"], first["who"]) == (
        "my-request-1",
        "/api/v1/session",
        200,
        "the viewer",
    )
    assert (second["request_id"], second["status"]) == (bad.headers["x-request-id"], 403)
    assert second["request_id"] != 'no"id'
    assert "kds_" not in "".join(lines)


def test_an_unexpected_failure_is_a_problem_and_its_traceback_is_in_the_log(
    admin: httpx.Client, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> str:
        raise RuntimeError("token='hunter2-and-more'")

    monkeypatch.setattr("kd_sweep.service.http.routes.health_routes.metrics_text", fails)
    answer = admin.get("/metrics")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "RuntimeError" not in answer.text
    until(lambda: lines)
    failure = json.loads(lines[0])
    assert failure["request_id"] == answer.json()["request_id"]
    assert "RuntimeError" in failure["traceback"]
    assert "hunter2" not in "".join(lines)


def test_numbers_for_prometheus_can_be_parsed(admin: httpx.Client) -> None:
    admin.get("/api/v1/studies/tiny/trials").raise_for_status()
    families = {family.name: family for family in parser.text_string_to_metric_families(admin.get("/metrics").text)}
    counted = {tuple(sample.labels.values()): sample.value for sample in families["kd_sweep_http_requests"].samples}
    assert counted["GET", "/api/v1/studies/{name}/trials", "200"] >= 1
    assert {sample.labels["state"] for sample in families["kd_sweep_submissions"].samples} >= {"queued", "running"}
    buckets = [
        s.value for s in families["kd_sweep_http_request_duration_seconds"].samples if s.name.endswith("_bucket")
    ]
    assert buckets == sorted(buckets)

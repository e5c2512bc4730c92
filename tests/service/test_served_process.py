"""`kd-sweep serve` as a process: a study from its submission to its tables, a second service, a start after a kill."""

import io
import re
import signal
import subprocess
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from kd_sweep.tables.reader import open_results
from tests.command_line import WORKER_START, Cli, Start, assert_one_line
from tests.polling import until
from tests.tiny_study import TINY
from tests.warm_python import worker_start

ONE_TRIAL = TINY.replace("[0.0, 0.5]", "[0.0]").replace("[1, 2]", "[1]")


def said_by(process: "subprocess.Popen[str]", last: str) -> str:
    """Return what a service says until a line that has ``last`` in it."""
    assert process.stdout is not None
    lines: list[str] = []
    while last not in (lines[-1] if lines else ""):
        line = process.stdout.readline()
        assert line, lines
        lines.append(line.strip())
    return "\n".join(lines)


def url_in(text: str) -> str:
    return re.findall(r"^http://\S+$", text, re.MULTILINE)[0]


def client_of(url: str, token: str) -> httpx.Client:
    return httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {token}"}, timeout=60)


def loaded_libraries(pid: int) -> set[str]:
    """Return which of the heavy libraries a process has in its memory."""
    return set(re.findall(r"libtorch|_raylet", Path(f"/proc/{pid}/maps").read_text()))


def assert_a_browser_is_signed_in_and_changes_nothing(url: str, secret: str, why: str) -> None:
    with httpx.Client(base_url=url, timeout=60) as browser:
        session = browser.post("/session", json={"token": secret})
        assert session.status_code == 200, session.text
        assert "HttpOnly" in session.headers["set-cookie"]
        csrf = {"X-CSRF-Token": session.json()["csrf"]}
        assert browser.get("/session").json() == session.json()
        assert browser.patch("/studies/tiny", json={"priority": 1}).status_code == 403
        refused = browser.patch("/studies/tiny", json={"priority": 1}, headers=csrf)
        assert (refused.status_code, refused.json()["detail"]) == (503, why)
        cookies = dict(browser.cookies)
        assert browser.delete("/session", headers=csrf).status_code == 204
        assert browser.get("/session", headers={"Cookie": "; ".join(map("=".join, cookies.items()))}).status_code == 401


def retry_and_clone(client: httpx.Client) -> None:
    """Run a study whose only trial fails, retry it, and clone it twice meanwhile, the later clone with priority."""

    def state(name: str) -> str:
        return str(client.get(f"/studies/{name}").json()["state"])

    failing = ["student.learning_rate=100.0", "student.weight_decay=10.0", "student.batch_size=4", "retries=0"]
    sent = client.post("/studies/tiny/clone", json={"name": "wild", "overrides": failing})
    assert sent.status_code == 201, sent.text
    until(lambda: state("wild") not in ("queued", "running"))
    assert state("wild") == "finished_with_failures", client.get("/studies/wild").text
    assert client.post("/studies/wild/retry").json()["state"] == "queued"
    mended = ["student.learning_rate=0.1", "student.weight_decay=0.0005"]
    for name in ("later", "sooner"):
        made = client.post("/studies/wild/clone", json={"name": name, "overrides": mended})
        assert made.status_code == 201, made.text
    assert client.patch("/studies/sooner", json={"priority": 5}).json()["waiting"]["position"] == 1
    until(lambda: state("later") == "finished")
    assert state("wild") == "finished_with_failures"
    assert [row["attempts"] for row in client.get("/studies/wild/trials").json()["rows"]] == [2]
    sooner, later = (client.get(f"/studies/{name}").json() for name in ("sooner", "later"))
    assert (sooner["state"], later["state"]) == ("finished", "finished")
    assert sooner["ended_at"] <= later["started_at"]


@pytest.mark.slow
def test_a_study_is_submitted_run_and_read(start_kd_sweep: Start, tmp_path: Path) -> None:
    root, state = tmp_path / "results", tmp_path / "state"
    arguments, variables = ("serve", root, "--state", state, "--port", 0), {WORKER_START: worker_start()}
    first = start_kd_sweep(*arguments, variables=variables)
    said = said_by(first, "kds_")
    url, secret = url_in(said), re.findall(r"kds_\S+", said)[0]
    with client_of(url, secret) as client:
        sent = client.post("/studies", content=ONE_TRIAL, headers={"Content-Type": "application/yaml"})
        assert (sent.status_code, sent.json()["state"]) == (201, "queued")

        second = start_kd_sweep(*arguments, variables=variables)
        said = said_by(second, "nothing can be changed here")
        assert f"this results root is held by pid {first.pid}" in said
        with client_of(url_in(said), secret) as reading:
            assert reading.get("/studies/tiny").status_code == 200
            refused = reading.patch("/studies/tiny", json={"priority": 1})
            assert refused.status_code == 503
            assert f"pid {first.pid}" in refused.json()["detail"]
            assert_a_browser_is_signed_in_and_changes_nothing(str(reading.base_url), secret, refused.json()["detail"])
        second.send_signal(signal.SIGTERM)
        assert second.wait(60) == 0

        until(lambda: client.get("/studies/tiny").json()["state"] in ("finished", "failed"))
        assert client.get("/studies/tiny").json()["state"] == "finished"
        parquet = client.get("/tables/epochs", params={"study": "tiny", "format": "parquet"})
        assert pq.read_table(io.BytesIO(parquet.content)).num_rows == open_results(root).table("epochs").num_rows == 3
        retry_and_clone(client)
        assert loaded_libraries(first.pid) == set()
    first.kill()
    first.wait()

    again = start_kd_sweep(*arguments, variables=variables)
    with client_of(url_in(said_by(again, "http://127")), secret) as client:
        assert client.get("/studies/tiny").json()["state"] == "finished"
    again.send_signal(signal.SIGTERM)
    assert again.wait(60) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--state", "/proc/nowhere"), "--state /proc/nowhere: cannot be made or used"),
        (("--database", "mysql://x/y"), "--database: "),
    ],
)
def test_a_mistake_is_one_line(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    if "--state" not in arguments:
        arguments = (*arguments, "--state", str(tmp_path / "state"))
    assert_one_line(cli("serve", tmp_path / "results", *arguments), message)
    assert not (tmp_path / "results").exists()

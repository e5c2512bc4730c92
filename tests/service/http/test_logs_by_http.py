"""Logs of drivers by HTTP: whole lines, each once, over several runs, and without secrets."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kd_sweep.service.supervision.run_folder import RunEnd, RunFolder, RunRequest
from tests.service.running_service import RunningService, running
from tests.tables.rows import write_study
from tests.tiny_study import TINY


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    write_study(tmp_path / "root")
    (tmp_path / "state" / "runs").mkdir(parents=True)
    with running(tmp_path / "root", tmp_path / "state") as started:
        yield started


def new_run(service: RunningService, name: str) -> RunFolder:
    request = RunRequest(str(service.serving.reading.root), None, None)
    return RunFolder.make(service.serving.state / "runs", name, request, TINY, None)


def read(client: httpx.Client, after: str | None, **options: int) -> tuple[str, str | None]:
    parameters = options | ({} if after is None else {"after": after})
    page = client.get("/api/v1/studies/tiny/logs", params=parameters).raise_for_status().json()
    return page["text"], page["next"]


def test_lines_come_once_and_whole_over_several_runs(service: RunningService, admin: httpx.Client) -> None:
    admin.post("/api/v1/studies", json={"yaml": TINY}).raise_for_status()
    assert read(admin, None) == ("", None)
    first = new_run(service, "1-aaa")
    first.log.write_text("one\ntwo\nhal")
    text, cursor = read(admin, None)
    assert text == "one\ntwo\n"
    first.log.write_text("one\ntwo\nhalf\nlast without an end")
    text, cursor = read(admin, cursor)
    assert text == "half\n"
    first.write_end(RunEnd("done"))
    text, cursor = read(admin, cursor)
    assert text == "last without an end"
    second = new_run(service, "1-000")
    second.log.write_text("again, with token=hunter2hunter2\n")
    text, cursor = read(admin, cursor)
    assert text == "again, with token=***\n"
    assert read(admin, cursor) == ("", cursor)


def test_a_long_log_is_read_from_its_end_or_piece_by_piece(service: RunningService, admin: httpx.Client) -> None:
    admin.post("/api/v1/studies", json={"yaml": TINY}).raise_for_status()
    lines = [f"line {number}\n" for number in range(5000)]
    new_run(service, "1-aaa").log.write_text("".join(lines))
    text, cursor = read(admin, None, limit=1000)
    assert "".join(lines).endswith(text)
    assert text.startswith("line ")
    assert len(text) <= 1000
    assert read(admin, cursor) == ("", cursor)
    assert admin.get("/api/v1/studies/digits/logs").status_code == 404

"""A whole study in a browser: submitted to `kd-sweep serve`, watched, paused, extended, resumed, and downloaded."""

import io
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Page, expect

import kd_sweep
from tests.command_line import WORKER_START, Start
from tests.service.page.browsing import CHROMIUM, WHY_NOT, browser
from tests.tiny_study import TINY
from tests.warm_python import worker_start

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=WHY_NOT)]

LIVE = TINY.replace("name: tiny", "name: live").replace("epochs: 3", "epochs: 8").replace("grid: [1, 2]", "grid: [1]")
SOON_MS = 90_000
"""For what needs a Ray, or a driver, to start or end."""


@pytest.fixture
def address(tmp_path: Path, start_kd_sweep: Start) -> Iterator[tuple[str, str]]:
    """A service, and the token that its first start has printed."""
    arguments = ("serve", tmp_path / "results", "--port", 0, "--state", tmp_path / "state")
    process = start_kd_sweep(*arguments, variables={WORKER_START: worker_start()})
    lines = iter(process.stdout.readline, "")
    url = next(line for line in lines if line.startswith("http://")).strip()
    yield url, next(line for line in lines if line.startswith("kds_")).strip()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


@pytest.fixture
def page(address: tuple[str, str]) -> Iterator[Page]:
    """A tab in which the admin is signed in."""
    url, token = address
    with browser() as started:
        tab = started.new_page()
        tab.goto(url)
        tab.get_by_label("Token").fill(token)
        tab.get_by_role("button", name="Sign in").click()
        tab.get_by_role("heading", name="Studies").wait_for()
        yield tab


def test_a_study_is_submitted_watched_paused_extended_resumed_and_downloaded(page: Page, tmp_path: Path) -> None:
    page.get_by_role("link", name="New study").click()
    page.get_by_label("Study file (YAML)").fill(LIVE)
    page.get_by_role("button", name="Submit").click()
    page.get_by_role("heading", name="live").wait_for()
    state = page.locator("main .state").first
    expect(state).to_contain_text("Running", timeout=SOON_MS)
    page.get_by_role("button", name="Pause").click()  # a driver takes seconds to its first trial
    expect(state).to_contain_text("Paused", timeout=SOON_MS)
    page.get_by_role("link", name="Extend").click()
    page.get_by_role("heading", name="Extend live").wait_for()
    file = page.get_by_label("Study file (YAML)")
    expect(file).to_have_value(LIVE)
    file.fill(LIVE.replace("grid: [0.0, 0.5]", "grid: [0.0, 0.5, 1.0]"))
    page.get_by_role("button", name="Extend").click()
    page.get_by_role("heading", name="live").wait_for()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("application", name="over epochs")).to_be_visible(timeout=SOON_MS)
    expect(state).to_contain_text("Finished", timeout=2 * SOON_MS)
    page.get_by_text("Log", exact=True).click()
    expect(page.get_by_role("region", name="Log")).to_contain_text("of 3 done already")
    expect(page.locator("main .progress").first).to_contain_text("3 of 3 trials")
    page.get_by_role("heading", name="Verdicts and effects").scroll_into_view_if_needed()
    expect(page.locator("#verdicts + p")).to_contain_text("Study live: 3 completed trials", timeout=SOON_MS)
    page.get_by_role("heading", name="Trials").scroll_into_view_if_needed()
    expect(page.get_by_role("region", name="Trials").locator("tbody tr")).to_have_count(3)
    with page.expect_download() as download:
        page.get_by_role("link", name="Trials (Parquet)").click()
    taken = pq.read_table(io.BytesIO(Path(download.value.path()).read_bytes()))
    kept = kd_sweep.open_results(tmp_path / "results")["live"].table("trials")
    assert taken.sort_by("trial_id").to_pylist() == kept.sort_by("trial_id").to_pylist()
    assert taken["last_epoch"].to_pylist() == [8, 8, 8]
    page.get_by_role("link", name="Cluster").click()  # its Ray stays for a minute
    node = page.get_by_role("table", name="Nodes of Ray").get_by_role("row", name=socket.gethostname())
    expect(node).to_contain_text("Alive", timeout=SOON_MS)
    expect(node).to_contain_text(re.compile(r"0 of \d"))
    expect(page.get_by_role("region", name="In use")).to_contain_text("0 of 1 slot")

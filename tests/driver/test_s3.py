"""A study on an object store that fails and dawdles: launched, killed, resumed and queried."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kd_sweep.tables.reader import open_results
from tests.command_line import Run, Start
from tests.comparing_tables import comparable
from tests.object_store import BUCKET, FaultyProxy, object_store, settings

pytest.importorskip("moto.server", reason="moto is not installed")
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

ROOT = f"s3://{BUCKET}/some/where"


@pytest.fixture
def bad_day(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    with object_store(failures=0.05, slow=0.05, slow_s=0.5) as proxy:
        for name, value in settings(*proxy.address).items():
            monkeypatch.setenv(name, value)
        yield proxy


def test_launch_kill_resume_and_query(
    bad_day: FaultyProxy, uninterrupted: Path, tiny: Path, kd_sweep: Run, start_kd_sweep: Start
) -> None:
    process = start_kd_sweep("launch", tiny, "--root", ROOT)
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "trials:" in line:
                break
        time.sleep(3)
        assert process.poll() is None, "".join(lines)
        second = kd_sweep("resume", f"{ROOT}/tiny")
        assert second.returncode == 2, second.stderr
        assert f"pid {process.pid} on" in second.stderr
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)

    resumed = kd_sweep("resume", f"{ROOT}/tiny", timeout=500)
    assert resumed.returncode == 0, resumed.stderr
    assert "trials: 0 to run" not in resumed.stderr, "it was killed in the middle"
    for table in ("epochs", "trials", "teachers"):
        assert comparable(ROOT, table).equals(comparable(uninterrupted, table)), table
    assert bad_day.counts["failed"] > 10
    assert bad_day.counts["slow"] > 10

    asked = kd_sweep("query", ROOT, "SELECT count(*) AS n FROM epochs", "--format", "json")
    assert json.loads(asked.stdout) == [{"n": 12}], asked.stderr
    assert kd_sweep("status", ROOT).returncode == 0
    verified = kd_sweep("verify", ROOT)
    assert (verified.returncode, "0 problems" in verified.stderr) == (0, True), verified.stdout
    again = kd_sweep("launch", tiny, "--root", ROOT)
    assert again.returncode == 0
    assert f"{ROOT}/tiny: nothing left to run (4 completed)" in again.stderr
    assert open_results(f"{ROOT}/tiny").studies() == ["tiny"]


def test_mistakes_are_one_line(bad_day: FaultyProxy, tiny: Path, kd_sweep: Run) -> None:
    for arguments, part in [
        (("launch", tiny, "--root", "s3://nobody-has-this/x"), "nobody-has-this"),
        (("launch", tiny, "--root", f"{ROOT}?region=x"), "AWS_REGION"),
        (("query", f"s3://{BUCKET}/nothing"), "nothing"),
        (("resume", f"s3://{BUCKET}/nothing"), "is not a study"),
    ]:
        refused = kd_sweep(*arguments)
        assert refused.returncode == 2, refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr
        assert part in refused.stderr

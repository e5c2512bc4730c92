"""Services of one root: one of them runs the studies, the others can be read, and one takes over. No study is run."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kd_sweep.errors import StorageError
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.study_files import check
from kd_sweep.service.queue.submissions import get, listing, submit
from kd_sweep.service.service_core import ServiceCore
from kd_sweep.service.service_errors import ReadOnlyError
from kd_sweep.service.service_settings import ServiceSettings, service_settings
from kd_sweep.tables.reader import open_results
from kd_sweep.upkeep.gc import Collector
from kd_sweep.upkeep.verify import verify


def settings(folder: Path, **others: object) -> ServiceSettings:
    return service_settings(str(folder / "root"), state=folder / "state", **others)


def core_of(folder: Path, **others: object) -> ServiceCore:
    return ServiceCore(settings(folder, **others))


def test_the_second_service_of_a_root_can_be_read_and_takes_over(tmp_path: Path) -> None:
    first, second = core_of(tmp_path, max_studies=0), core_of(tmp_path, max_studies=0)
    first.start()
    second.start()
    assert first.read_only is None
    with first.changing() as session:
        submit(session, check("name: digits", Policy()), by="anna", policy=Policy())
    with second.reading() as session:
        row = get(session, "digits")
    assert row.submitted_by == "anna"
    with pytest.raises(
        ReadOnlyError, match=r"nothing can be changed here: another service .*this results root is held by"
    ):
        second.changing().__enter__()
    first.stop()
    deadline = time.monotonic() + 20
    while second.read_only is not None:
        assert time.monotonic() < deadline, second.read_only
        time.sleep(0.05)
    with second.changing() as session:
        get(session, "digits").priority = 1
    second.stop()


def test_a_killed_service_is_replaced_at_once(tmp_path: Path) -> None:
    program = f"""
import os
from pathlib import Path
from kd_sweep.service.service_core import ServiceCore
from kd_sweep.service.service_settings import service_settings
core = ServiceCore(service_settings({str(tmp_path / "root")!r}, state=Path({str(tmp_path / "state")!r}), max_studies=0))
core.start()
assert core.read_only is None
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 9
    core = core_of(tmp_path, max_studies=0)
    core.start()
    assert core.read_only is None
    core.stop()


def test_a_service_that_is_to_be_read_changes_nothing(tmp_path: Path) -> None:
    core = core_of(tmp_path, read_only=True)
    core.start()
    with pytest.raises(ReadOnlyError, match="was started with --read-only"):
        core.changing().__enter__()
    assert not (tmp_path / "root").exists()
    core.stop()


def test_a_root_with_a_service_is_read_as_before(uninterrupted: Path, tmp_path: Path) -> None:
    """Its lease is no study, and no garbage."""
    shutil.copytree(uninterrupted, tmp_path / "root")
    before = [one.path for one in Collector(tmp_path / "root").find()]
    core = core_of(tmp_path, max_studies=0)
    core.start()
    core.stop()
    assert [path.name for path in (tmp_path / "root" / "service").glob("*.json")]
    assert open_results(tmp_path / "root").studies() == ["tiny"]
    assert [one.path for one in Collector(tmp_path / "root").find()] == before
    assert verify(tmp_path / "root") == []


def test_the_services_own_folder_is_its_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    made = service_settings(str(tmp_path / "root"))
    assert made.state.parent == tmp_path / "home" / "kd_sweep"
    assert made.state.stat().st_mode & 0o777 == 0o700
    assert made.state == service_settings(str(tmp_path / "root") + "/").state
    assert made.state != service_settings(str(tmp_path / "other")).state
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"--state .*file: cannot be made or used"):
        service_settings(str(tmp_path / "root"), state=tmp_path / "file")


def test_studies_wait_while_none_may_run(tmp_path: Path) -> None:
    core = core_of(tmp_path, max_studies=0)
    core.start()
    with core.changing() as session:
        submit(session, check("name: digits", Policy()), by="anna", policy=Policy())
    time.sleep(1.2)
    with core.reading() as session:
        assert [row.state for row in listing(session)] == ["queued"]
    core.stop()
    assert not (tmp_path / "state" / "head.json").exists()

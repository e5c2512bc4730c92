"""The frozen study: which versions ran it."""

from pathlib import Path

import pytest

from kd_sweep.driver import study_folder
from kd_sweep.driver.study_folder import StudyFolder, provenance
from kd_sweep.driver.study_state import StudyState
from kd_sweep.study.file.frozen import frozen_provenance
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.spec import StudySpec
from kd_sweep.upkeep.verify import PROBLEM, verify

SPEC = parse_spec("name: s", "s.yaml")


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The versions that are installed, to be changed."""
    installed = {"torch": "2.11.0", "ray": "2.60.0", "git_revision": "0123456789ab-dirty"}
    monkeypatch.setattr(study_folder, "provenance", lambda: dict(installed))
    return installed


def frozen(root: Path) -> dict[str, str]:
    path = root / "s" / "study.yaml"
    return frozen_provenance(path.read_text(), str(path))


def launch(root: Path, spec: StudySpec = SPEC) -> str | None:
    with StudyState(spec, StudyFolder(root, "s")) as state:
        return state.note_versions()


def test_a_resume_with_the_same_versions_changes_nothing(tmp_path: Path, versions: dict[str, str]) -> None:
    assert launch(tmp_path) is None
    before = (tmp_path / "s" / "study.yaml").read_bytes()
    assert launch(tmp_path) is None
    assert (tmp_path / "s" / "study.yaml").read_bytes() == before
    assert frozen(tmp_path) == versions


def test_every_change_of_versions_is_told_once_and_kept(tmp_path: Path, versions: dict[str, str]) -> None:
    launch(tmp_path)
    versions["torch"] = "2.12.0"
    told = launch(tmp_path)
    assert told is not None
    assert "(torch was 2.11.0 and is 2.12.0)" in told
    assert "bit for bit" in told
    assert len(told.splitlines()) == 1
    assert launch(tmp_path) is None
    versions["torch"] = "2.11.0"
    told = launch(tmp_path)
    assert told is not None
    assert "(torch was 2.12.0 and is 2.11.0)" in told
    first, second, third = frozen(tmp_path)["torch"].split(", ")
    assert (first, second.split(" since ")[0], third.split(" since ")[0]) == ("2.11.0", "2.12.0", "2.11.0")
    assert frozen(tmp_path)["ray"] == "2.60.0"
    assert StudyFolder(tmp_path, "s").spec() == SPEC


def test_a_study_that_grows_keeps_the_versions_of_its_first_run(tmp_path: Path, versions: dict[str, str]) -> None:
    launch(tmp_path)
    versions["ray"] = "2.61.0"
    longer = parse_spec("name: s\nsearch: {seed: {grid: [0, 1]}}", "s.yaml")
    told = launch(tmp_path, longer)
    assert told is not None
    assert "ray was 2.60.0 and is 2.61.0" in told
    assert frozen(tmp_path)["ray"].startswith("2.60.0, 2.61.0 since ")
    assert StudyFolder(tmp_path, "s").spec() == longer


def test_versions_are_known_without_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git_revision" not in provenance()
    assert provenance()["torch"]


def test_a_file_that_a_replaced_driver_wrote_too_late_does_not_count(tmp_path: Path) -> None:
    folder, path = StudyFolder(tmp_path, "s"), tmp_path / "s" / "study.yaml"
    larger = parse_spec("name: s\nsearch: {seed: {grid: [0, 1]}}", "s.yaml")
    launch(tmp_path)
    older = path.read_bytes()
    launch(tmp_path, larger)
    newer = path.read_bytes()
    path.write_bytes(older)
    assert folder.spec() == larger
    assert [found.file for found in verify(tmp_path) if found.kind == PROBLEM] == [str(path)]
    launch(tmp_path, folder.spec())
    assert path.read_bytes() == newer
    assert [found for found in verify(tmp_path) if found.kind == PROBLEM] == []

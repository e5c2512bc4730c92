"""The frozen study: which versions ran it."""

from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from kd_sweep.driver import study_folder
from kd_sweep.driver.launch import resume
from kd_sweep.driver.study_checks import checked
from kd_sweep.driver.study_folder import StudyFolder, provenance
from kd_sweep.driver.study_state import StudyState
from kd_sweep.storage.root import Root
from kd_sweep.study.file import frozen as frozen_module
from kd_sweep.study.file.frozen import parse_frozen
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.file.yaml_reader import Document
from kd_sweep.study.spec import StudySpec
from kd_sweep.upkeep.verify import PROBLEM, verify
from tests.driver.reports import report_of

SPEC = parse_spec("name: s", "s.yaml")


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The versions that are installed, to be changed."""
    installed = {"torch": "2.11.0", "ray": "2.60.0", "git_revision": "0123456789ab-dirty"}
    monkeypatch.setattr(study_folder, "provenance", lambda: dict(installed))
    return installed


def frozen(root: Path) -> dict[str, str]:
    path = root / "s" / "study.yaml"
    return parse_frozen(path.read_text(), str(path)).provenance


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


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often `study.yaml` has been read, and how often the text of a study has been parsed."""
    counts: Counter[str] = Counter()
    reading, read_text, read_yaml = Root.reading, frozen_module.read_text, frozen_module.read_yaml

    def counted_reading(root: Root, name: str) -> AbstractContextManager[Any]:
        counts["study.yaml"] += name == "study.yaml"
        return reading(root, name)

    def counted_text(path: Path, *options: Any) -> str:
        counts["study.yaml"] += 1
        return read_text(path, *options)

    def counted_yaml(*arguments: Any, **options: Any) -> Document:
        counts["parsed"] += 1
        return read_yaml(*arguments, **options)

    monkeypatch.setattr(Root, "reading", counted_reading)
    monkeypatch.setattr(frozen_module, "read_text", counted_text)
    monkeypatch.setattr(frozen_module, "read_yaml", counted_yaml)
    return counts


def completed(root: Path) -> None:
    """Make a study of one trial, which is completed."""
    with StudyState(checked(SPEC, say=print), StudyFolder(root, "s")) as state:
        (trial,) = (planned.config for planned in state.work.new)
        state.recorder.started(trial)
        for epoch in range(1, trial.student.epochs + 1):
            state.recorder.epoch(trial.trial_id, report_of(epoch))
        state.recorder.ended(trial.trial_id, "completed")
        state.finish()


def test_a_resume_reads_and_parses_the_study_once(tmp_path: Path, reads: Counter[str]) -> None:
    completed(tmp_path)
    reads.clear()
    outcome = resume(tmp_path / "s")
    assert (outcome.ran, outcome.counts) == (False, {"completed": 1})
    assert reads == {"study.yaml": 1, "parsed": 1}


def test_a_resume_with_work_left_parses_the_study_once(tmp_path: Path, reads: Counter[str]) -> None:
    launch(tmp_path)
    reads.clear()
    folder = StudyFolder.at(tmp_path / "s")
    with StudyState(folder.spec(), folder) as state:
        assert state.work
        assert state.note_versions() is None
    assert reads == {"study.yaml": 1, "parsed": 1}


def test_a_study_that_another_driver_has_extended_meanwhile_is_not_taken_for_what_was_read(tmp_path: Path) -> None:
    larger = parse_spec("name: s\nsearch: {seed: {grid: [0, 1]}}", "s.yaml")
    launch(tmp_path)
    folder = StudyFolder(tmp_path, "s")
    assert folder.spec() == SPEC
    launch(tmp_path, larger)
    assert folder.spec() == larger

"""A study that lies elsewhere and is linked into a results root: it is a study of the root that the user names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kd_sweep.distill.teacher_records import RECORD, TEACHERS
from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.storage.local_files import as_named
from kd_sweep.storage.root import Root
from kd_sweep.storage.terms import of_term
from kd_sweep.study.file.load import parse_spec
from kd_sweep.study.space.points import planned_trials
from kd_sweep.tables.reader import open_results
from kd_sweep.upkeep.gc import Collector
from kd_sweep.upkeep.verify import verify

STUDY = "name: digits\nsearch: {ensemble_size: {grid: [1]}}"


@pytest.fixture
def linked(tmp_path: Path) -> tuple[Path, str]:
    """The link to a study, and a teacher of the root in which the link lies, whose record is damaged."""
    spec = parse_spec(STUDY, "digits.yaml")
    (config,) = (trial.config for trial in planned_trials(spec))
    with StudyState(spec, StudyFolder(tmp_path / "disk", "digits")) as state:
        state.recorder.started(config)
    root = tmp_path / "results"
    root.mkdir()
    (root / "digits").symlink_to(tmp_path / "disk" / "digits")
    (teacher,) = config.needed_teachers
    record = root / TEACHERS / teacher.teacher_id / of_term(RECORD, 1)
    record.parent.mkdir(parents=True)
    record.write_text("{}")
    return root / "digits", str(record)


SPELLINGS: dict[str, Callable[[Path], tuple[Path, str]]] = {
    "in full": lambda link: (link.parent.parent, str(link)),
    "with a slash": lambda link: (link.parent.parent, f"{link}/"),
    "relative": lambda link: (link.parent.parent, "results/digits"),
    "relative, with dots": lambda link: (link.parent, "./../results/./digits/"),
    "from inside": lambda link: (link, "."),
    "from further inside": lambda link: (link, "../digits"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_root_is_the_one_in_which_the_link_lies(
    linked: tuple[Path, str], spelling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, record = linked
    folder, name = SPELLINGS[spelling](link)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PWD", str(folder))
    if spelling == "from further inside":  # as the kernel goes: from the folder that the link leads to
        link = link.resolve()
        record = ""
    assert [found.file for found in verify(name) if found.kind == "problem"] == [record] * bool(record)
    assert StudyFolder.at(name).storage.location == str(link.parent)
    assert Collector(name).root.location == str(link.parent)
    results = open_results(name)
    assert results.root.location == str(link)
    assert results.studies() == ["digits"]
    assert results.sql("SELECT count(*) AS n FROM trials").to_pylist() == [{"n": 1}]
    assert len(results.status()) == 1


def test_a_root_is_searched_through_its_links(linked: tuple[Path, str]) -> None:
    link, record = linked
    assert [found.file for found in verify(link.parent) if found.kind == "problem"] == [record]
    assert open_results(link.parent).studies() == ["digits"]
    assert Collector(link.parent).find() == []


def test_a_working_directory_that_the_shell_no_longer_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for shown in ("", "relative", str(tmp_path / "gone"), "/"):
        monkeypatch.setenv("PWD", shown)
        assert as_named(Path("a")) == tmp_path / "a"
        assert Root.named(".").location == str(tmp_path)

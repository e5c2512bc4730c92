"""The renaming of a study: everything says the new name, and a kill at any file operation leaves one whole study."""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.storage.root import Root
from kd_sweep.study.file.frozen import load_frozen
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.schema import TABLES
from kd_sweep.upkeep.renaming import rename_study
from kd_sweep.upkeep.verify import PROBLEM, verify
from tests.command_line import Cli, assert_one_line
from tests.upkeep.stored_studies import store_study
from tests.warm_python import warm_with

FRESH = warm_with(__name__)


def content(root: Path) -> dict[str, pa.Table]:
    """Return the tables of the one study without its name, and without its frozen text, which has the name too."""
    tables = {name: open_results(root).table(name) for name in TABLES}
    kept = {name: table.drop_columns(["study"]) for name, table in tables.items()}
    kept["studies"] = kept["studies"].drop_columns(["spec"])
    return {
        name: table.sort_by([(column, "ascending") for column in table.column_names[:2]])
        for name, table in kept.items()
    }


def names(root: Path) -> set[str]:
    """Return every name of a study that any row has."""
    results = open_results(root)
    return {name for table in TABLES for name in results.table(table)["study"].to_pylist()}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return store_study(tmp_path / "results", "old")


def test_everything_has_the_new_name_and_nothing_else_changes(study: Path, cli: Cli) -> None:
    root = study.parent
    before = content(root)
    code, _, err = cli("mv", study, "new-1")
    assert code == 0, err
    assert [path.name for path in root.iterdir() if path.is_dir() and path.name != "datasets"] == ["new-1"]
    assert names(root) == {"new-1"}
    after = content(root)
    for name in TABLES:
        assert after[name].schema.equals(before[name].schema), name
        assert after[name].equals(before[name]), name
    frozen = load_frozen(root / "new-1")
    assert frozen.spec.name == "new-1"
    assert frozen == StudyFolder(root, "new-1").frozen_in_table()
    assert len(list((root / "new-1/checkpoints").glob("*/*"))) == 1
    assert [str(one) for one in verify(root) if one.kind == PROBLEM and "checkpoints" not in one.file] == []


@pytest.mark.slow
def test_a_renamed_study_goes_on(finished: Path, tiny: Path, cli: Cli) -> None:
    assert cli("mv", finished / "tiny", "large")[0] == 0
    code, _, err = cli("resume", finished / "large")
    assert code == 0, err
    assert "nothing left to run (4 completed)" in err
    code, _, err = cli("launch", tiny, "--root", finished, "--set", "name=large")
    assert "nothing left to run (4 completed)" in err


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("a/b", "name: 'a/b' is not a name"),
        ("..", "name: '..' is not a name"),
        ("teachers", "name: 'teachers' is taken"),
        ("old", "is named 'old' already"),
        ("other", "other is there already; choose another name"),
    ],
)
def test_a_wrong_name_is_one_line(study: Path, cli: Cli, name: str, part: str) -> None:
    store_study(study.parent, "other")
    before = sorted(study.rglob("*"))
    assert_one_line(cli("mv", study, name), part)
    assert sorted(study.rglob("*")) == before


def test_what_is_no_study_is_one_line(study: Path, cli: Cli) -> None:
    assert_one_line(cli("mv", study.parent, "new"), "is not a study")
    assert_one_line(cli("mv", study.parent / "none", "new"), "is not a study")


def test_a_study_that_is_run_is_not_renamed(study: Path, cli: Cli) -> None:
    with StudyFolder(study.parent, "old").lock():
        assert_one_line(cli("mv", study, "new"), "study 'old' is held by pid")
    assert names(study.parent) == {"old"}


def test_damage_is_mended_before_a_rename(study: Path, cli: Cli) -> None:
    (trials,) = (study / "trials").iterdir()
    trials.write_bytes(trials.read_bytes()[:-20])
    assert_one_line(cli("mv", study, "new"), str(trials), f"kd-sweep resume {study}, and rename the study then")
    assert not (study.parent / "new").exists()
    trials.unlink()
    assert_one_line(cli("mv", study, "new"), "trials", "is missing", "kd-sweep resume")
    assert StudyFolder(study.parent, "old").spec().name == "old"


def test_a_folder_that_was_renamed_by_hand_is_refused_until_both_have_one_name(study: Path, cli: Cli) -> None:
    study.rename(by_hand := study.with_name("hand"))
    for command in (
        ["resume", by_hand],
        ["launch", by_hand / "study.yaml", "--root", study.parent, "--set", "name=hand"],
    ):
        assert_one_line(cli(*command), "holds the study 'old'", f"kd-sweep mv {by_hand} hand")
    assert cli("mv", by_hand, "hand")[0] == 0
    assert names(study.parent) == {"hand"}
    shutil.copytree(by_hand, study)
    assert_one_line(cli("mv", study, "hand"), "hand is there already")
    assert cli("mv", study, "old")[0] == 0
    assert open_results(study.parent).studies() == ["hand", "old"]


def test_an_object_store_cannot_rename(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Root, "is_local", False)
    with pytest.raises(Exception, match="lies in an object store, where nothing can be renamed"):
        rename_study(study, "new")


def rename_until_killed(study: Path, kill_at: int) -> None:
    """Rename it; be killed before this file operation."""
    operations = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal operations
        is_write = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if is_write or event in ("os.rename", "os.remove", "os.mkdir", "os.link", "delete"):
            operations += 1
            if operations == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    delete = Root.delete

    def counted_delete(self: Root, name: str) -> None:
        count("delete", ())
        delete(self, name)

    Root.delete = counted_delete  # type: ignore[method-assign]
    sys.addaudithook(count)
    rename_study(study, "new")


@pytest.mark.slow
def test_a_kill_at_any_file_operation_leaves_one_whole_study_and_the_rename_can_be_ended(tmp_path: Path) -> None:
    original = store_study(tmp_path / "original", "old")
    expected = content(tmp_path / "original")
    met: set[tuple[str, str]] = set()
    for kill_at in range(1, 200):
        root = tmp_path / str(kill_at)
        root.mkdir()
        shutil.copytree(original, root / "old")
        process = FRESH.Process(target=rename_until_killed, args=(root / "old", kill_at))
        process.start()
        process.join(60)
        (folder,) = (path for path in root.iterdir() if path.is_dir())
        ((name, _),) = open_results(root).select().items()
        met.add((folder.name, name))
        assert names(root) == {name}
        for table, rows in content(root).items():
            assert rows.equals(expected[table]), (kill_at, table)
        if process.exitcode == 0:
            break
        if (folder.name, name) != ("new", "new"):
            rename_study(folder, "new")
        assert open_results(root).studies() == ["new"]
        assert load_frozen(root / "new").spec.name == "new"
        assert content(root)["epochs"].equals(expected["epochs"])
    assert process.exitcode == 0
    assert kill_at > 20
    assert met == {("old", "old"), ("old", "new"), ("new", "new")}

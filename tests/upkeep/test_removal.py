"""The removal of a study: what it asks, what it frees, what it leaves to others."""

import os
import pty
import subprocess
from pathlib import Path

import pytest

from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import open_results
from kd_sweep.upkeep import removal
from kd_sweep.upkeep.removal import remove_study, weigh
from tests.command_line import COMMAND, Cli, assert_one_line, environment
from tests.upkeep.stored_studies import store_study


@pytest.fixture
def study(tmp_path: Path) -> Path:
    store_study(tmp_path / "results", "other")
    return store_study(tmp_path / "results", "old")


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_yes_deletes_it_and_says_what_was_freed(study: Path, cli: Cli) -> None:
    (study.parent / "teachers/abc").mkdir(parents=True)
    (study.parent / "teachers/abc/model-00000001.safetensors").write_bytes(b"weights")
    expected = bytes_of(study)
    assert weigh(study).num_bytes == expected
    code, out, err = cli("rm", study, "--yes")
    assert code == 0, err
    assert out.startswith(f"deleted {study}: 2 trials, ")
    assert "used by no other study" not in err  # the other study has the same teachers
    assert open_results(study.parent).studies() == ["other"]
    assert sorted(path.name for path in study.parent.iterdir() if path.name != "datasets") == ["other", "teachers"]
    assert (study.parent / "teachers/abc/model-00000001.safetensors").exists()
    code, _, err = cli("rm", study.parent / "other", "-y")
    # Two begun trials, of one seed or of two, need a teacher for each seed.
    assert f"teachers are used by no other study: kd-sweep gc {study.parent} lists them" in err


def answered(study: Path, answer: bytes) -> tuple[int, str]:
    """Return exit code and output of `rm` on a terminal where somebody answers."""
    parent, child = pty.openpty()
    process = subprocess.Popen([*COMMAND, "rm", str(study)], stdin=child, stdout=child, stderr=child, env=environment())
    os.close(child)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(parent, 4096)
    os.write(parent, answer)
    try:
        while more := os.read(parent, 4096):
            said += more
    except OSError:
        pass
    os.close(parent)
    return process.wait(), said.decode()


def test_it_asks_first(study: Path) -> None:
    for answer in (b"\n", b"no\n", b"\x04"):
        code, said = answered(study, answer)
        assert (code, study.exists()) == (2, True), said
        assert "rm: nothing was deleted" in said
    code, said = answered(study, b"y\n")
    assert (code, study.exists()) == (0, False), said
    assert "2 trials, " in said
    assert "Nothing brings it back." in said


def test_nobody_to_ask_and_what_is_no_study_are_one_line(study: Path, cli: Cli) -> None:
    assert_one_line(cli("rm", study), "nobody is here to ask, so nothing was deleted; --yes deletes it")
    assert_one_line(cli("rm", study.parent, "--yes"), "is not a study")
    assert_one_line(cli("rm", study.parent / "none", "--yes"), "is not a study")
    assert study.exists()


def test_a_study_that_is_run_is_not_deleted(study: Path, cli: Cli) -> None:
    with StudyFolder(study.parent, "old").lock():
        assert_one_line(cli("rm", study, "--yes"), "study 'old' is held by pid")
    assert open_results(study.parent).studies() == ["old", "other"]


def test_a_damaged_study_can_be_removed(study: Path, cli: Cli) -> None:
    for table in study.glob("*/*.parquet"):
        table.write_bytes(b"damaged")
    code, out, err = cli("rm", study, "--yes")
    assert code == 0, err
    assert "unreadable tables" in out
    assert not study.exists()


def test_what_a_killed_removal_leaves_is_no_study_and_gc_lists_it(
    study: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: Root, name: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Root, "delete_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_study(study)
    assert open_results(study.parent).studies() == ["other"]
    code, out, _ = cli("gc", study.parent)
    assert (code, out.count("what is left of a study that was removed")) == (0, 1)
    assert cli("gc", study.parent, "--delete")[0] == 0
    assert [path.name for path in study.parent.iterdir() if path.name.startswith(removal.REMOVED)] == []


def test_an_object_store_loses_what_makes_a_study_last(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Local files stand for those of a store: what is deleted when is the same."""
    root, deleted = Root.open(study), []
    monkeypatch.setattr(Root, "delete_folder", lambda self, name: deleted.append(name))
    monkeypatch.setattr(Root, "delete", lambda self, name: deleted.append(name))
    removal._delete_stored(root)
    assert deleted[-2:] == ["study.yaml", "study"]
    assert {"epochs", "trials", "checkpoints"} <= set(deleted[:-2])

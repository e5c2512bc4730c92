"""Notes and tags of studies and trials: kept by every driver, seen by status and SQL, written while a sweep runs."""

import json
import multiprocessing
from pathlib import Path

import pyarrow as pa
import pytest

from kd_sweep.driver.study_folder import StudyFolder
from kd_sweep.driver.study_state import StudyState
from kd_sweep.errors import CorruptFileError
from kd_sweep.storage.root import Root
from kd_sweep.tables.notes import add_note
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.schema import NOTES
from kd_sweep.upkeep.verify import PROBLEM, verify
from tests.command_line import Cli, assert_one_line
from tests.upkeep.stored_studies import store_study


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return store_study(tmp_path / "results", "s")


def trial_of(study: Path) -> str:
    trial_id: str = open_results(study).table("trials")["trial_id"][0].as_py()
    return trial_id


def test_notes_of_a_study_and_of_a_trial_are_a_table(study: Path, cli: Cli) -> None:
    trial = trial_of(study)
    assert cli("note", study, "looks odd\nin two lines", "--tag", "rerun", "--tag", "rerun")[0] == 0
    assert cli("note", f"{study}/{trial[:6]}", "--tag", "best")[0] == 0
    table = open_results(study.parent).table("notes")
    assert table.schema.equals(NOTES)
    first, second = table.to_pylist()
    assert (first["study"], first["trial_id"], first["text"], first["tags"]) == (
        "s",
        None,
        "looks odd\nin two lines",
        ["rerun"],
    )
    assert (second["trial_id"], second["text"], second["tags"]) == (trial, "", ["best"])
    assert first["written_at"] <= second["written_at"]
    by_tag = "SELECT trial_id, status FROM trials JOIN notes USING (study, trial_id) WHERE list_contains(tags, 'best')"
    assert open_results(study.parent).sql(by_tag).num_rows == 1
    (row,) = open_results(study.parent).status()
    assert (row["num_notes"], row["tags"]) == (2, ["rerun"])
    assert "rerun" in cli("status", study.parent)[1]
    _, out, _ = cli("note", f"{study}/{trial}", "--format", "json")
    assert [one["tags"] for one in json.loads(out)] == [["best"]]
    assert len(json.loads(cli("note", study, "--format", "json")[1])) == 2


def test_a_driver_neither_minds_notes_nor_touches_them(study: Path, cli: Cli) -> None:
    folder = StudyFolder(study.parent, "s")
    with StudyState(folder.spec(), folder):
        assert cli("note", study, "while it runs")[0] == 0
        assert [row["text"] for row in open_results(study).table("notes").to_pylist()] == ["while it runs"]
    with StudyState(folder.spec(), folder):
        pass
    assert cli("mv", study, "other")[0] == 0
    (row,) = open_results(study.parent).table("notes").to_pylist()
    assert (row["study"], row["text"]) == ("other", "while it runs")
    assert cli("gc", study.parent, "--delete")[0] == 0
    assert open_results(study.parent).table("notes").num_rows == 1


def write_notes(study: Path, writer: int) -> None:
    for number in range(20):
        add_note(Root.named(study), f"{writer} {number}")


def test_two_who_note_at_once_lose_nothing(study: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_notes, args=(study, writer)) for writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    texts = open_results(study).table("notes")["text"].to_pylist()
    assert sorted(texts) == sorted(f"{writer} {number}" for writer in range(3) for number in range(20))


def test_a_note_is_deleted_by_its_id(study: Path, cli: Cli) -> None:
    for text in ("a", "b"):
        cli("note", study, text)
    first, second = open_results(study).table("notes")["note_id"].to_pylist()
    assert cli("note", study, "--delete", first)[0] == 0
    assert open_results(study).table("notes")["note_id"].to_pylist() == [second]
    assert_one_line(cli("note", study, "--delete", first), f"has no note '{first}'; ", second)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("s", "--tag", "two words"), "--tag: 'two words' is not a tag"),
        (("s", "x" * 10_001), "note: 10001 characters are more than 10000"),
        (("s", "text", "--delete", "abc"), "--delete goes with no text"),
        (("s/nothing", "text"), "trial: 'nothing' is no trial"),
        (("none", "text"), "none: is not a study; possible: ROOT/STUDY, or ROOT/STUDY/TRIAL"),
        (("s/a/b", "text"), "is not a study"),
    ],
)
def test_a_mistake_is_one_line(study: Path, cli: Cli, arguments: tuple[str, ...], part: str) -> None:
    assert_one_line(cli("note", study.parent / arguments[0], *arguments[1:]), part)
    assert not (study / "notes").exists()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"text": 3}', b"\xff"])
def test_a_damaged_note_is_named(study: Path, content: bytes) -> None:
    cli_note = add_note(Root.named(study), "sound")
    (file,) = (study / "notes").iterdir()
    assert cli_note in file.name
    file.write_bytes(content)
    with pytest.raises(CorruptFileError, match="is damaged: it is not a note"):
        open_results(study).table("notes")
    assert isinstance(open_results(study).sql("SELECT * FROM trials"), pa.Table)
    assert any(finding.kind == PROBLEM and "not a note" in finding.what for finding in verify(study))

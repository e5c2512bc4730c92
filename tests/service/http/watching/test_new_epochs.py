"""Epochs that are new are found by the parts that are new, and told once, whatever the trials say of them yet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kd_sweep.handles.study_results import StudyResults
from kd_sweep.service.http.watching import new_epochs
from kd_sweep.service.http.watching.new_epochs import NewEpochs
from kd_sweep.storage.root import Root
from kd_sweep.tables.epoch_parts import list_parts, merge
from kd_sweep.tables.writer import StudyWriter
from tests.tables.rows import epoch_row, trial_id, write_study

NUM_TRIALS, NUM_EPOCHS = 3, 4


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[StudyWriter]:
    """A writer of a study whose first trial has an epoch more than its row says."""
    write_study(tmp_path, num_trials=NUM_TRIALS, num_epochs=NUM_EPOCHS)
    with StudyWriter(Root.open(tmp_path), "digits") as opened:
        add(opened, 0, 5)
        yield opened


def add(writer: StudyWriter, number: int, epoch: int) -> None:
    writer.add_epoch(epoch_row(number, epoch))
    writer.flush()


def told(watched: NewEpochs) -> list[tuple[str, int]]:
    found = watched.take("val_accuracy")
    return [] if found is None else list(zip(found["columns"]["trial_id"], found["columns"]["epoch"], strict=True))


@pytest.mark.parametrize("most_rows", [2 * NUM_TRIALS, 1_000_000])
def test_epochs_ahead_of_their_trials_are_known_and_later_ones_told_once(
    writer: StudyWriter, monkeypatch: pytest.MonkeyPatch, most_rows: int
) -> None:
    monkeypatch.setattr(new_epochs, "MAX_MERGED_ROWS", most_rows)
    study = StudyResults(writer.root)
    assert max(study.table("trials")["last_epoch"].to_pylist()) == NUM_EPOCHS
    watched = NewEpochs(study, is_live=True)
    assert told(watched) == []
    add(writer, 0, 6)
    add(writer, 1, 5)
    merge(writer.root, list_parts(writer.root))  # one part with what was seen and what was not
    assert sorted(told(watched)) == sorted([(trial_id(0), 6), (trial_id(1), 5)])
    assert told(watched) == []


def test_a_part_that_is_merged_while_it_is_read_is_read_in_the_merged_one(
    writer: StudyWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, parts = list_parts, list_parts(writer.root)
    merged, _ = merge(writer.root, parts)
    for part in parts:
        if part != merged:
            writer.root.delete(part.path)
    answers = [parts]
    monkeypatch.setattr(new_epochs, "list_parts", lambda root: answers.pop() if answers else listed(root))
    watched = NewEpochs(StudyResults(writer.root), is_live=True)
    assert answers == []
    assert told(watched) == []

import json
from pathlib import Path

import pytest

from kd_sweep.errors import QueryError
from kd_sweep.storage.root import Root
from kd_sweep.tables.reader import open_results
from kd_sweep.tables.trial_lookup import find_trials
from kd_sweep.tables.writer import StudyWriter
from tests.tables.rows import trial_row


def write(root: Path, study: str, *ids: str) -> None:
    with StudyWriter(Root.open(root), study) as writer:
        for number, trial_id in enumerate(ids):
            writer.upsert_trial(trial_row(number, trial_id=trial_id, config=json.dumps({"seed": number})))


def message(root: Path, wanted: str) -> str:
    with pytest.raises(QueryError) as caught:
        find_trials(open_results(root), [wanted])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_whole_ids_and_unique_beginnings_in_the_order_asked_for(tmp_path: Path):
    write(tmp_path, "s", "aaa1", "aab2", "bcd3")
    found = find_trials(open_results(tmp_path), ["b", "aab2", "bcd3", "aaa"])
    assert [trial.trial_id for trial in found] == ["bcd3", "aab2", "aaa1"]
    assert [trial.config for trial in found] == [{"seed": 2}, {"seed": 1}, {"seed": 0}]
    assert str(found[0].root) == str(tmp_path)
    assert str(found[0].study) == str(tmp_path / "s")


def test_an_id_that_begins_another_is_itself(tmp_path: Path):
    write(tmp_path, "s", "aa", "aab")
    assert find_trials(open_results(tmp_path), ["aa"])[0].trial_id == "aa"


def test_the_results_root_of_a_study_folder_is_the_one_above(tmp_path: Path):
    write(tmp_path, "s", "aa")
    found = find_trials(open_results(tmp_path / "s"), ["aa"])[0]
    assert (str(found.root), str(found.study)) == (str(tmp_path), str(tmp_path / "s"))


def test_a_trial_of_two_studies_is_found_once(tmp_path: Path):
    write(tmp_path, "one", "aa")
    write(tmp_path, "two", "aa", "ab")
    found = find_trials(open_results(tmp_path), ["aa", "ab"])
    assert [trial.row["study"] for trial in found] == ["one", "two"]


def test_mistakes_say_what_is_possible(tmp_path: Path):
    write(tmp_path, "s", *(f"ab{number}" for number in range(6)))
    assert message(tmp_path, "ab").startswith(
        "trial: 'ab' is the beginning of 6 trials (ab0, ab1, ab2, ab3, …); see kd-"
    )
    for wanted in ("c", "", "ab00", "AB1"):
        assert message(tmp_path, wanted).startswith(f"trial: {wanted!r} is no trial in {tmp_path}; see kd-sweep query ")

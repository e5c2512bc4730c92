"""Answers are computed once for all who ask; while a study runs they stand for a while, say so, and are renewed."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from kd_sweep.service.access.roles import Role
from kd_sweep.service.http import standing_answers
from kd_sweep.service.http.answers.shared_answers import BEHIND, RENEWED_IN
from kd_sweep.service.http.standing_answers import StandingAnswers
from kd_sweep.storage.root import Root
from kd_sweep.tables.study_lease import study_lease
from kd_sweep.tables.writer import StudyWriter
from tests.service.running_service import running
from tests.tables.rows import epoch_row, trial_row, write_study


@dataclass(frozen=True)
class Text:
    text: str
    nbytes: int = 10


def never() -> Text:
    raise AssertionError("is computed anew")


@pytest.fixture
def long_lasting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that are never computed too quickly to stand."""
    monkeypatch.setattr(standing_answers, "SHARE", 1e-12)


def test_many_who_ask_at_once_cost_one_computation() -> None:
    answers, began, number = StandingAnswers(), threading.Event(), []

    def compute() -> Text:
        began.wait(10)
        number.append(1)
        return Text("new")

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(answers.get, "question", "tag", compute, may_stand=True) for _ in range(8)]
        began.set()
        assert {one.result(10).answer.text for one in asked} == {"new"}
    assert len(number) == 1
    assert answers.get("question", "tag", never, may_stand=False).answer.text == "new"


@pytest.mark.usefixtures("long_lasting")
def test_an_answer_stands_only_where_more_changes_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = StandingAnswers()
    answers.get("question", "first", lambda: Text("old"), may_stand=True)
    standing = answers.get("question", "second", never, may_stand=True)
    assert (standing.answer.text, standing.tag, standing.is_behind) == ("old", "first", True)
    assert 0 < standing.renewed_in_s <= standing_answers.LONGEST_S
    fresh = answers.get("question", "second", lambda: Text("new"), may_stand=False)
    assert (fresh.answer.text, fresh.tag, fresh.is_behind) == ("new", "second", False)
    monkeypatch.setattr(standing_answers, "LONGEST_S", 0.0)
    answers.get("other", "first", lambda: Text("old"), may_stand=True)
    assert answers.get("other", "second", lambda: Text("new"), may_stand=True).answer.text == "new"


def test_a_failure_is_no_answer() -> None:
    answers = StandingAnswers()
    with pytest.raises(ZeroDivisionError):
        answers.get("question", "tag", lambda: Text(str(1 / 0)), may_stand=True)
    assert answers.get("question", "tag", lambda: Text("new"), may_stand=True).answer.text == "new"


def test_answers_are_forgotten_when_they_take_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_answers, "_REMEMBERED_BYTES", 25)
    answers = StandingAnswers()
    for number in range(3):
        answers.get(number, "tag", lambda: Text("old"), may_stand=False)
    assert answers.get(0, "tag", lambda: Text("new"), may_stand=False).answer.text == "new"
    assert answers.get(2, "tag", never, may_stand=False).answer.text == "old"


@pytest.mark.usefixtures("long_lasting")
def test_json_of_a_study_that_runs_stands_and_other_forms_do_not(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    write_study(tmp_path / "root", num_trials=3)
    root = Root.open(tmp_path / "root")
    path, csv = "/api/v1/studies/digits/trials?sort=trial_id&format=columns", "/api/v1/studies/digits/trials?format=csv"
    with running(tmp_path / "root", tmp_path / "state") as service, service.client(Role.VIEWER) as client:
        lease = study_lease(root.child("digits"), "digits")
        with StudyWriter(root, "digits", lease=lease) as writer:
            first = client.get(path)
            assert (first.headers[BEHIND], first.headers["content-encoding"]) == ("0", "gzip")
            writer.add_epoch(epoch_row(0, 5))
            writer.upsert_trial(trial_row(0, "running", last_epoch=5))
            writer.flush()
            standing = client.get(path)
            assert (standing.json(), standing.headers["etag"]) == (first.json(), first.headers["etag"])
            assert standing.headers[BEHIND] == "1"
            assert float(standing.headers[RENEWED_IN]) > 0
            known = client.get(path, headers={"If-None-Match": standing.headers["etag"]})
            assert (known.status_code, known.headers[BEHIND]) == (304, "1")
            plain = client.get(path, headers={"Accept-Encoding": "identity"})
            assert "content-encoding" not in plain.headers
            assert plain.json() == first.json()
            assert client.get(csv).text.count(",5,") > 0
        lease.release()
        ended = client.get(path)
        assert ended.headers[BEHIND] == "0"
        assert ended.json()["columns"]["last_epoch"][0] == 5

"""Answers are computed once for all who ask; while a study runs they stand for a while, say so, and are renewed."""

import threading
import time
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


def test_an_answer_that_has_stood_is_renewed_behind_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_answers, "SHARE", 0.1)
    answers, may_end = StandingAnswers(), threading.Event()

    def renewed() -> Text:
        assert may_end.wait(10)
        return Text("new")

    def slow() -> Text:
        time.sleep(0.05)  # so it stands for half a second, and for another half
        return Text("old")

    answers.get("question", "first", slow, may_stand=True)
    time.sleep(0.6)
    for compute in (renewed, never):  # one computation, whoever asks meanwhile
        standing = answers.get("question", "second", compute, may_stand=True)
        assert (standing.answer.text, standing.tag, standing.is_behind) == ("old", "first", True)
        assert standing.age_s >= 0.6
    may_end.set()
    answers.end()
    fresh = answers.get("question", "second", never, may_stand=True)
    assert (fresh.answer.text, fresh.is_behind) == ("new", False)


def test_an_answer_that_is_too_old_is_computed_before_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_answers, "LONGEST_S", 0.05)
    answers = StandingAnswers()
    answers.get("question", "first", lambda: time.sleep(0.01) or Text("old"), may_stand=True)
    time.sleep(0.15)
    assert answers.get("question", "second", lambda: Text("new"), may_stand=True).answer.text == "new"


def test_a_renewal_that_fails_is_the_failure_of_who_asks_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing_answers, "LONGEST_S", 0.2)
    answers = StandingAnswers()
    answers.get("question", "first", lambda: time.sleep(0.05) or Text("old"), may_stand=True)
    time.sleep(0.25)
    assert answers.get("question", "second", lambda: Text(str(1 / 0)), may_stand=True).answer.text == "old"
    answers.end()
    time.sleep(0.25)
    with pytest.raises(ZeroDivisionError):
        answers.get("question", "second", lambda: Text(str(1 / 0)), may_stand=True)


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
            assert standing.headers["age"] == "0"
            known = client.get(path, headers={"If-None-Match": standing.headers["etag"]})
            assert (known.status_code, known.headers[BEHIND]) == (304, "1")
            plain = client.get(path, headers={"Accept-Encoding": "identity"})
            assert "content-encoding" not in plain.headers
            assert plain.json() == first.json()
            asked = [
                f"/api/v1/studies/digits/queries/bands?format=columns{more}" for more in ("", "&metric=val_accuracy")
            ]
            assert len({client.get(path).headers["etag"] for path in asked}) == 1, "one question, asked in two ways"
            assert client.get(csv).text.count(",5,") > 0
        lease.release()
        ended = client.get(path)
        assert ended.headers[BEHIND] == "0"
        assert ended.json()["columns"]["last_epoch"][0] == 5

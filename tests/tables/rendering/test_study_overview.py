"""How far studies are, against values worked out by hand."""

import datetime
from typing import Any

import pytest

from kd_sweep.tables.rendering.study_overview import overview, remaining_s, span

NOW = datetime.datetime(2024, 5, 6, 12, tzinfo=datetime.UTC)


def row(**changes: Any) -> dict[str, Any]:
    return {
        "study": "digits",
        "status": "running",
        "num_planned": 9,
        "num_trials": 6,
        "num_completed": 3,
        "num_stopped": 1,
        "num_failed": 0,
        "num_epochs": 40,
        "best_objective": 0.9916,
        "remaining_s": 5400.0,
        "updated_at": NOW - datetime.timedelta(seconds=90),
        "tags": [],
    } | changes


def test_a_study_in_a_row() -> None:
    assert overview([row()], NOW).to_pylist() == [
        {
            "study": "digits",
            "status": "running",
            "trials": "4/9",
            "epochs": 40,
            "best": 0.9916,
            "left": "2 h",
            "changed": "2 min ago",
        }
    ]


def test_what_is_not_known_is_missing_and_failures_are_told() -> None:
    (found,) = overview(
        [row(num_planned=None, best_objective=None, remaining_s=None, updated_at=None, num_failed=2)], NOW
    ).to_pylist()
    assert (found["trials"], found["best"], found["left"], found["changed"], found["failed"]) == (
        "4/6",
        None,
        None,
        None,
        2,
    )


def test_tags_are_shown_where_a_study_has_some() -> None:
    shown = overview([row(), row(tags=["rerun", "paper"])], NOW).to_pylist()
    assert [found["tags"] for found in shown] == ["", "rerun, paper"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "0 s"), (59, "59 s"), (61, "1 min"), (7000, "2 h"), (200_000, "2 d")]
)
def test_spans_are_in_their_largest_unit(seconds: float, said: str) -> None:
    assert span(seconds) == said


def trial(status: str, train_s: float | None, last_epoch: int | None) -> dict[str, Any]:
    return {"status": status, "train_s": train_s, "num_epochs": 4, "last_epoch": last_epoch}


def test_the_time_left_is_that_of_waiting_and_running_trials_at_the_pace_of_finished_ones() -> None:
    done = [trial("completed", 100.0, 4), trial("completed", 300.0, 4)]
    running = [trial("running", 50.0, 1), trial("running", None, None)]
    # 200 s each: 6 wait, the running ones lack 0.75 and 1 of a trial, and two run at a time.
    assert remaining_s(done + running, 10) == pytest.approx(200 * (6 + 0.75 + 1) / 2)
    assert remaining_s(done, 10) is None, "nothing runs"
    assert remaining_s(running, 10) is None, "nothing is done"

"""The order of the queue against a sorted list, and why a study waits, in words."""

import time
from random import Random

import pytest

from kd_sweep.service.queue.order import holders, next_ones, num_before
from kd_sweep.service.queue.position import position
from kd_sweep.service.queue.states import STATES
from kd_sweep.service.queue.submissions import get
from kd_sweep.service.rows.database import Database
from kd_sweep.service.rows.models import Submission
from tests.service.submitting import Submit


def test_the_order_is_that_of_a_sorted_list(database: Database) -> None:
    random = Random(0)
    rows = []
    with database.changing() as session:
        for number in range(60):
            row = Submission(name=f"s{number}", study_yaml="", submitted_by="anna", submitted_at=0.0)
            row.priority, row.state = random.randint(-2, 2), random.choice(["queued", "queued", *STATES])
            row.wanted = random.choice(["run", "run", "delete"])
            session.add(row)
            rows.append(row)
    waiting = [row for row in rows if (row.state, row.wanted) == ("queued", "run")]
    expected = [row.name for row in sorted(waiting, key=lambda row: (-row.priority, row.id))]
    assert len(expected) > 10
    with database.reading() as session:
        assert [row.name for row in next_ones(session, 100)] == expected
        assert [row.name for row in next_ones(session, 3)] == expected[:3]
        assert [num_before(session, get(session, name)) for name in expected] == list(range(len(expected)))
        busy = [row.name for row in rows if row.state in ("running", "pausing")]
        assert [row.name for row in holders(session)] == busy


def test_why_a_study_waits(database: Database, submitted: Submit) -> None:
    def why(name: str, max_studies: int = 2) -> tuple[int | None, str]:
        with database.reading() as session:
            found = position(session, name, max_studies)
        return found.position, found.why

    submitted("digits", state="running")
    submitted("later")
    assert why("later") == (1, "first: no study before it; it starts now, in a free slot")
    submitted("cifar", state="pausing")
    submitted("urgent", priority=1)
    submitted("last")
    held = "the 2 slots of this service are held by digits (running), cifar (pausing)"
    assert why("last") == (3, f"third: 2 studies before it; {held}")
    assert why("later") == (2, f"second: 1 study before it; {held}")
    assert why("urgent") == (1, f"first: no study before it; {held}")
    assert why("last", 3) == (3, "third: 2 studies before it; the free slot goes to those before it")
    assert why("digits") == (None, "it runs")
    with database.changing() as session:
        get(session, "digits").next_start_at = time.time() + 9.6
        get(session, "cifar").wanted = "cancel"
    assert why("last")[1].endswith("held by digits (starting again in 10 s), cifar (stopping)")


@pytest.mark.parametrize("state", STATES)
def test_every_state_is_said_in_words(database: Database, submitted: Submit, state: str) -> None:
    submitted("digits", state=state)
    with database.reading() as session:
        assert position(session, "digits", 1).why

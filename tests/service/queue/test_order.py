"""The order of the queue against a sorted list, and why a study waits, in words."""

import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kd_sweep.service.queue.order import in_order, to_start
from kd_sweep.service.queue.position import position
from kd_sweep.service.queue.states import STATES
from kd_sweep.service.queue.submissions import get
from kd_sweep.service.rows.database import Database
from tests.service.submitting import Submit


@dataclass
class Row:
    id: int
    priority: int
    state: str
    wanted: str
    name: str = ""


ROWS = st.lists(
    st.builds(Row, st.integers(), st.integers(-2, 2), st.sampled_from(STATES), st.sampled_from(["run", "delete"])),
    unique_by=lambda row: row.id,
)


@given(rows=ROWS, max_studies=st.integers(1, 4))
def test_those_that_start_are_the_first_that_fit(rows: list[Row], max_studies: int) -> None:
    started = to_start(rows, max_studies)
    waiting = [row for row in rows if (row.state, row.wanted) == ("queued", "run")]
    busy = sum(row.state in ("running", "pausing") for row in rows)
    assert len(started) == min(len(waiting), max(0, max_studies - busy))
    others = [row for row in waiting if row not in started]
    for row in started:  # nobody else would have been earlier
        assert all(
            row.priority > other.priority or (row.priority == other.priority and row.id < other.id) for other in others
        )
    assert in_order(rows)[: len(started)] == started


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

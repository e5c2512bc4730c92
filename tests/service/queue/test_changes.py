"""Changes of studies in the queue: what each state allows, by a table written down here, and what comes of it."""

import pytest

from kd_sweep.errors import SpecError
from kd_sweep.service.queue import changes
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.states import STATES
from kd_sweep.service.queue.study_files import check
from kd_sweep.service.queue.submissions import get
from kd_sweep.service.rows.database import Database
from kd_sweep.service.service_errors import ConflictError, NotFoundError, PolicyError, StateError
from tests.service.submitting import Submit

CHANGED = {
    "pause": {"queued": "paused", "running": "pausing", "pausing": "pausing"},
    "resume": {"pausing": "pausing", "paused": "queued", "cancelled": "queued"},
    "cancel": {"queued": "cancelled", "running": "pausing", "pausing": "pausing", "paused": "cancelled"},
    "retry": {"finished_with_failures": "queued", "failed": "queued"},
    "delete": {state: "pausing" if state == "running" else state for state in STATES},
}
"""The state after each change, by the state before; it is refused in all others."""


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("change", CHANGED)
def test_a_change_is_made_or_refused_by_the_state(
    database: Database, submitted: Submit, change: str, state: str
) -> None:
    submitted("digits", state=state)
    expected = CHANGED[change].get(state)
    if expected is None:
        with database.changing() as session, pytest.raises(StateError, match=f"'digits' is {state} and cannot be .*ed"):
            getattr(changes, change)(session, "digits")
        with database.reading() as session:
            assert (get(session, "digits").state, get(session, "digits").revision) == (state, 1)
        return
    with database.changing() as session:
        getattr(changes, change)(session, "digits")
    with database.reading() as session:
        row = get(session, "digits")
    wanted = {"pause": "pause", "cancel": "cancel", "delete": "delete"}.get(change, "run")
    assert (row.state, row.wanted, row.revision) == (expected, wanted, 2)


@pytest.mark.parametrize("state", STATES)
def test_a_study_is_extended_unless_a_driver_has_it(database: Database, submitted: Submit, state: str) -> None:
    submitted("digits", state=state)
    larger = check("name: digits\nseeds: 3", Policy())
    if state in ("running", "pausing"):
        with database.changing() as session, pytest.raises(StateError, match="cannot be extended; possible: "):
            changes.extend(session, "digits", larger)
        return
    with database.changing() as session:
        changes.extend(session, "digits", larger)
    with database.reading() as session:
        row = get(session, "digits")
    assert (row.state, row.study_yaml) == ("paused" if state == "paused" else "queued", larger.yaml)
    assert row.revision > 1


def test_an_extension_has_the_name_of_the_study(database: Database, submitted: Submit) -> None:
    submitted("digits", state="finished")
    with database.changing() as session, pytest.raises(SpecError, match="'other' is not 'digits'"):
        changes.extend(session, "digits", check("name: other", Policy()))


def test_priority_and_slots(database: Database, submitted: Submit) -> None:
    submitted("digits", state="running")
    with database.changing() as session:
        changes.set_priority(session, "digits", 5)
        changes.set_slots(session, "digits", 2, policy=Policy(max_slots=2))
    with database.changing() as session, pytest.raises(PolicyError):
        changes.set_slots(session, "digits", 3, policy=Policy(max_slots=2))
    with database.reading() as session:
        row = get(session, "digits")
    assert (row.priority, row.slots, row.revision, row.state) == (5, 2, 3, "running")


def test_a_change_of_what_has_changed_meanwhile_is_refused(database: Database, submitted: Submit) -> None:
    seen = submitted("digits").revision
    with database.changing() as session:
        changes.set_priority(session, "digits", 5, revision=seen)
    with database.changing() as session, pytest.raises(ConflictError, match="since revision 1 and has 2 now"):
        changes.pause(session, "digits", revision=seen)


def test_what_is_being_deleted_or_unknown_cannot_be_changed(database: Database, submitted: Submit) -> None:
    submitted("digits")
    with database.changing() as session:
        changes.delete(session, "digits")
    with database.changing() as session, pytest.raises(StateError, match="is being deleted"):
        changes.pause(session, "digits")
    with database.changing() as session, pytest.raises(NotFoundError):
        changes.pause(session, "letters")

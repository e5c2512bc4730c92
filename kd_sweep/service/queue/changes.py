"""What users change of studies in the queue: each checks that the state allows it, and the supervisor does the rest."""

import time
from collections.abc import Collection

from sqlalchemy.orm import Session

from kd_sweep.errors import SpecError
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.states import HOLDING
from kd_sweep.service.queue.study_files import CheckedStudy
from kd_sweep.service.queue.submissions import check_priority, get
from kd_sweep.service.rows.models import Submission
from kd_sweep.service.service_errors import ConflictError, StateError

_POSSIBLE = {
    "queued": "pause, cancel, extend, priority, slots, delete",
    "running": "pause, cancel, slots, delete",
    "pausing": "resume, cancel, delete",
    "paused": "resume, cancel, extend, slots, delete",
    "cancelled": "resume, extend, delete",
    "finished": "extend, delete",
    "finished_with_failures": "retry, extend, delete",
    "budget_used": "extend with a larger budget, delete",
    "failed": "retry, extend, delete",
}
"""What can be done with a study in each state, for messages."""


def pause(session: Session, name: str, *, revision: int | None = None) -> Submission:
    """Stop a study's driver, or keep the study from starting; nothing that is done is lost.

    Args:
        session: of a change.
        name: of the study.
        revision: the one that the caller has seen. Where there is a newer one, nothing is done.

    Raises:
        NotFoundError: there is no such study.
        StateError: its state does not allow it.
        ConflictError: it has changed since that revision.
    """
    row = _in_state(session, name, revision, "paused", ("queued", "running", "pausing"))
    _want(row, "pause")
    return row


def resume(session: Session, name: str, *, revision: int | None = None) -> Submission:
    """Put a paused or cancelled study back into the queue; arguments and errors as `pause`."""
    row = _in_state(session, name, revision, "resumed", ("pausing", "paused", "cancelled"))
    _want(row, "run")
    if row.state != "pausing":
        _queue(row)
    return row


def cancel(session: Session, name: str, *, revision: int | None = None) -> Submission:
    """Take a study out of the queue, and stop its driver; what it has done stays. Arguments and errors as `pause`."""
    row = _in_state(session, name, revision, "cancelled", ("queued", "running", "pausing", "paused"))
    _want(row, "cancel")
    return row


def retry(session: Session, name: str, *, revision: int | None = None) -> Submission:
    """Run the failed trials of a study again, or a study that could not be run; arguments and errors as `pause`."""
    row = _in_state(session, name, revision, "retried", ("finished_with_failures", "failed"))
    _want(row, "run")
    _queue(row)
    return row


def extend(session: Session, name: str, study: CheckedStudy, *, revision: int | None = None) -> Submission:
    """Replace the study file: a larger grid, more seeds, more budget. What is done already is not done again.

    A paused study stays paused. Whether old and new results mean the same its driver checks before it writes anything.

    Args:
        session: of a change.
        name: of the study.
        study: the checked new study file.
        revision: as for `pause`.

    Raises:
        SpecError: the new file has another name.
        NotFoundError: as `pause`.
        StateError: a driver runs it.
        ConflictError: it has changed since that revision.
    """
    resting = ("queued", "paused", "cancelled", "finished", "finished_with_failures", "budget_used", "failed")
    row = _in_state(session, name, revision, "extended", resting)
    if study.name != name:
        raise SpecError(f"name: {study.name!r} is not {name!r}, the study that is to be extended; clone it instead")
    row.study_yaml = study.yaml
    if study.plugins_zip is not None:
        row.plugins_zip = study.plugins_zip
    _change(row)
    if row.state != "paused":
        _want(row, "run")
        _queue(row)
    return row


def set_priority(session: Session, name: str, priority: int, *, revision: int | None = None) -> Submission:
    """Change how early a study is run, higher is earlier; a running one keeps its slot. Errors as `pause`."""
    check_priority(priority)
    row = _current(session, name, revision)
    row.priority = priority
    _change(row)
    return row


def set_slots(
    session: Session, name: str, slots: int | None, *, policy: Policy, revision: int | None = None
) -> Submission:
    """Change how many trials of a study may run at a time; for a running one from its next start on.

    Args:
        session: of a change.
        name: of the study.
        slots: the most; what its study file says when None.
        policy: what the server gives.
        revision: as for `pause`.

    Raises:
        PolicyError: the server gives no study so many.
        NotFoundError: as `pause`.
        ConflictError: it has changed since that revision.
    """
    policy.check_slots(slots)
    row = _current(session, name, revision)
    row.slots = slots
    _change(row)
    return row


def delete(session: Session, name: str, *, revision: int | None = None) -> Submission:
    """Stop a study, and remove it with everything in its folder; teachers stay. Errors as `pause`."""
    row = _current(session, name, revision)
    _want(row, "delete")
    return row


def _current(session: Session, name: str, revision: int | None) -> Submission:
    row = get(session, name)
    if revision is not None and row.revision != revision:
        raise ConflictError(
            f"study: {name!r} has changed since revision {revision} and has {row.revision} now; read it again"
        )
    if row.wanted == "delete":
        raise StateError(f"study: {name!r} is being deleted")
    return row


def _in_state(session: Session, name: str, revision: int | None, what: str, states: Collection[str]) -> Submission:
    row = _current(session, name, revision)
    if row.state not in states:
        raise StateError(f"study: {name!r} is {row.state} and cannot be {what}; possible: {_POSSIBLE[row.state]}")
    return row


def _want(row: Submission, wanted: str) -> None:
    row.wanted = wanted
    if row.state not in HOLDING and wanted in ("pause", "cancel"):  # nothing runs, so nothing has to stop
        row.state = {"pause": "paused", "cancel": "cancelled"}[wanted]
        row.message, row.next_start_at, row.ended_at = None, None, time.time()
    elif row.state == "running" and wanted != "run":
        row.state = "pausing"
    _change(row)


def _queue(row: Submission) -> None:
    row.state, row.message, row.num_failures, row.next_start_at, row.ended_at = "queued", None, 0, None, None


def _change(row: Submission) -> None:
    row.revision += 1

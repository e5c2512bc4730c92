"""The submissions: studies that users have asked for, each with a name, in the order of their arrival."""

import hashlib
import time
from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_sweep.errors import alternatives
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.states import STATES
from kd_sweep.service.queue.study_files import CheckedStudy
from kd_sweep.service.rows.models import IdempotencyKey, Submission
from kd_sweep.service.service_errors import ConflictError, NotFoundError, ServiceError

MAX_KEY = 200
"""Characters of an idempotency key."""
MAX_PRIORITY = 1_000_000
MAX_LISTED = 1000


def submit(
    session: Session,
    study: CheckedStudy,
    *,
    by: str,
    policy: Policy,
    priority: int = 0,
    slots: int | None = None,
    idempotency_key: str | None = None,
) -> tuple[Submission, bool]:
    """Put a study into the queue.

    Args:
        session: of a change.
        study: as `kd_sweep.service.queue.study_files.check` returned it.
        by: who submits it.
        policy: what the server allows.
        priority: higher is run first.
        slots: the most trials at a time.
        idempotency_key: a text of the client's own. Sent again with the same study it makes no second submission.

    Returns:
        The submission, and whether this call has made it.

    Raises:
        ServiceError: the name is taken, the key was used for something else, or the server gives no such slots.
    """
    check_priority(priority)
    policy.check_slots(slots)
    digest = _digest(study, priority, slots)
    if idempotency_key is not None and (earlier := _earlier(session, by, idempotency_key, digest)) is not None:
        return earlier, False
    _check_free(session, study.name)
    submission = Submission(name=study.name, submitted_by=by, submitted_at=time.time(), priority=priority, slots=slots)
    submission.study_yaml, submission.plugins_zip = study.yaml, study.plugins_zip
    if idempotency_key is not None:
        submission.keys.append(IdempotencyKey(submitter=by, key=idempotency_key, request_sha256=digest))
    session.add(submission)
    session.flush()  # gives it its id
    return submission, True


def get(session: Session, name: str) -> Submission:
    """Return the submission of this name; `NotFoundError` where there is none."""
    submission = _named(session, name)
    if submission is None:
        names = session.scalars(select(Submission.name).order_by(Submission.id.desc()).limit(1000))
        raise NotFoundError(f"study: {name!r} is not a study of this service; {alternatives(name, names)}")
    return submission


def listing(
    session: Session, *, states: Collection[str] | None = None, after: int | None = None, limit: int = 100
) -> Sequence[Submission]:
    """Return submissions in the order of their arrival.

    Args:
        session: any.
        states: only those in one of these; all when None.
        after: only those that arrived after the one of this id: the last one of the page before.
        limit: at most so many, 1000 at most.

    Raises:
        ServiceError: there is no such state, or the limit is none.
    """
    if stranger := next((state for state in states or () if state not in STATES), None):
        raise ServiceError(f"state: {stranger!r} is not a state; {alternatives(stranger, STATES, limit=len(STATES))}")
    if not 1 <= limit <= MAX_LISTED:
        raise ServiceError(f"limit: {limit} is not from 1 to {MAX_LISTED}")
    query = select(Submission).order_by(Submission.id).limit(limit)
    if states is not None:
        query = query.where(Submission.state.in_(states))
    if after is not None:
        query = query.where(Submission.id > after)
    return session.scalars(query).all()


def check_priority(priority: int) -> None:
    """Raise `ServiceError` for a priority that no column holds."""
    if abs(priority) > MAX_PRIORITY:
        raise ServiceError(f"priority: {priority} is not from {-MAX_PRIORITY} to {MAX_PRIORITY}")


def _check_free(session: Session, name: str) -> None:
    if (taken := _named(session, name)) is not None:
        whose = f"a study that {taken.submitted_by} submitted, which is {taken.state}"
        raise ConflictError(f"name: {name!r} is taken by {whose}; choose another, or extend that one")


def _named(session: Session, name: str) -> Submission | None:
    return session.scalars(select(Submission).where(Submission.name == name)).one_or_none()


def _earlier(session: Session, by: str, key: str, digest: str) -> Submission | None:
    """Return what the first request with this key has made; None where this is the first one."""
    if not 0 < len(key) <= MAX_KEY:
        raise ServiceError(f"Idempotency-Key: has {len(key)} characters; possible: 1 to {MAX_KEY}")
    row = session.get(IdempotencyKey, (by, key))
    if row is None:
        return None
    if row.request_sha256 != digest:
        raise ConflictError(f"Idempotency-Key: {key!r} was used for another request; take a new key for a new study")
    return session.get_one(Submission, row.submission_id)


def _digest(study: CheckedStudy, priority: int, slots: int | None) -> str:
    digest = hashlib.sha256()
    for part in (study.yaml.encode(), study.plugins_zip or b"", str(priority).encode(), str(slots).encode()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()

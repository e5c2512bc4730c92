"""The order of the queue: by priority, then by arrival."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from kd_sweep.service.queue.states import HOLDING
from kd_sweep.service.rows.models import Submission


def next_ones(session: Session, number: int) -> Sequence[Submission]:
    """Return the first so many of the queue, the next one first."""
    waiting = select(Submission).where(*_in_queue())
    return session.scalars(waiting.order_by(Submission.priority.desc(), Submission.id).limit(number)).all()


def num_before(session: Session, row: Submission) -> int:
    """Return how many studies of the queue are before this one, which is in it."""
    same = and_(Submission.priority == row.priority, Submission.id < row.id)
    before = select(func.count(Submission.id)).where(*_in_queue(), or_(Submission.priority > row.priority, same))
    return session.scalar(before) or 0


def num_queued(session: Session) -> int:
    """Return how many studies wait."""
    return session.scalar(select(func.count(Submission.id)).where(*_in_queue())) or 0


def holders(session: Session) -> Sequence[Submission]:
    """Return the studies that hold a slot of the service, in the order of their arrival."""
    return session.scalars(select(Submission).where(Submission.state.in_(HOLDING)).order_by(Submission.id)).all()


def _in_queue() -> tuple[ColumnElement[bool], ...]:
    return Submission.state == "queued", Submission.wanted == "run"

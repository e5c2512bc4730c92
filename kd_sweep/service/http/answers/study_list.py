"""The list of studies: filtered, sorted, page by page; of each why it stands as it does."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from kd_sweep.service.http.answers.cursors import cursor_of, key_of
from kd_sweep.service.http.answers.refusals import RefusedRequestError
from kd_sweep.service.http.answers.study_content import progress_of, study_content
from kd_sweep.service.http.serving import Serving
from kd_sweep.service.queue.order import holders, next_ones, num_queued
from kd_sweep.service.queue.position import standing
from kd_sweep.service.rows.models import Submission

SORTS: dict[str, InstrumentedAttribute[Any]] = {
    "submitted_at": Submission.id,
    "name": Submission.name,
    "state": Submission.state,
    "submitted_by": Submission.submitted_by,
    "priority": Submission.priority,
}
"""What the list can be sorted by. Ids are in the order of arrival."""
_IN_ROOT = "in root"
"""The first part of the cursors of studies that were not submitted; that of others is what the list is sorted by."""


@dataclass(frozen=True)
class StudyFilter:
    """Which studies a list has, and in which order."""

    state: str | None = None
    """Only submitted studies in this state."""
    by: str | None = None
    """Only those that this one has submitted."""
    search: str | None = None
    """Only those with this in their name or in that of their submitter, in any case."""
    sort: str = "-submitted_at"
    """A key of `SORTS`; behind a minus descending."""

    @property
    def is_of_queue(self) -> bool:
        """Whether only submitted studies fit."""
        return self.state is not None or self.by is not None

    @property
    def is_descending(self) -> bool:
        """Whether the largest comes first."""
        return self.sort.startswith("-")

    @property
    def column(self) -> InstrumentedAttribute[Any]:
        """What the list is sorted by."""
        return SORTS[self.sort.removeprefix("-")]


def listed_studies(serving: Serving, wanted: StudyFilter, after: str | None, limit: int) -> dict[str, Any]:
    """Return a page of the studies: those that were submitted, as sorted; then others in the root, by name.

    Args:
        serving: the service.
        wanted: which studies, in which order.
        after: the cursor; None for the first page.
        limit: the most studies.
    """
    kind, *key = (wanted.sort,) if after is None else key_of(after, str, object, object)
    entries: list[tuple[str, dict[str, Any]]] = []
    with serving.rows.reading() as session:
        if kind != _IN_ROOT:
            entries = _submitted(serving, session, _page(wanted, kind, key).limit(limit + 1), wanted)
        if not wanted.is_of_queue and len(entries) <= limit:
            names = _others(serving, session, wanted.search)
            names = [name for name in names if kind != _IN_ROOT or name > str(key[0])]
            for name in names[: limit + 1 - len(entries)]:
                content = study_content(None, name, progress_of(serving.reading, name), None)
                entries.append((cursor_of(_IN_ROOT, name, None), content))
    shown = entries[:limit]
    return {"studies": [content for _, content in shown], "next": shown[-1][0] if len(entries) > limit else None}


def listed_queue(serving: Serving, limit: int) -> tuple[list[dict[str, Any]], int]:
    """Return the first studies of the queue, each with what it waits for, and how many wait in all."""
    names = ("name", "priority", "submitted_by", "submitted_at")
    with serving.rows.reading() as session:
        holding = holders(session)
        entries = []
        for row in next_ones(session, limit):
            waiting = standing(session, row, serving.max_studies, holding)
            content = {name: getattr(row, name) for name in names}
            entries.append(content | {"position": waiting.position, "why": waiting.why})
        return entries, num_queued(session)


def _page(wanted: StudyFilter, kind: str, key: list[Any]) -> Select[Submission]:
    """Return the query of those behind a key: the value that is sorted by, and the id, which decides among equals.

    Raises:
        RefusedRequestError: the key is of a list that is sorted otherwise.
    """
    conditions: list[ColumnElement[bool]] = []
    if wanted.state is not None:
        conditions.append(Submission.state == wanted.state)
    if wanted.by is not None:
        conditions.append(Submission.submitted_by == wanted.by)
    if wanted.search is not None:
        text = wanted.search.lower()
        columns = (Submission.name, Submission.submitted_by)
        conditions.append(or_(*(func.lower(column).contains(text, autoescape=True) for column in columns)))
    column, identity = wanted.column, Submission.id
    if key:
        value, last = key
        if kind != wanted.sort or type(value) is not column.type.python_type or type(last) is not int:
            raise RefusedRequestError(400, "after: is not a cursor of this list; take `next` of a page of it")
        beyond = column < value if wanted.is_descending else column > value
        older = identity < last if wanted.is_descending else identity > last
        conditions.append(or_(beyond, and_(column == value, older)))
    order = [one.desc() if wanted.is_descending else one.asc() for one in (column, identity)]
    return select(Submission).where(*conditions).order_by(*order)


def _submitted(
    serving: Serving, session: Session, page: Select[Submission], wanted: StudyFilter
) -> list[tuple[str, dict[str, Any]]]:
    holding = holders(session)
    entries = []
    for row in session.scalars(page).all():
        waiting = standing(session, row, serving.max_studies, holding)
        content = study_content(row, row.name, progress_of(serving.reading, row.name), waiting)
        entries.append((cursor_of(wanted.sort, getattr(row, wanted.column.key), row.id), content))
    return entries


def _others(serving: Serving, session: Session, search: str | None) -> list[str]:
    """Return the names of studies that are in the root and were not submitted, sorted."""
    submitted = set(session.scalars(select(Submission.name)))
    text = (search or "").lower()
    return [name for name in serving.reading.names() if name not in submitted and text in name.lower()]

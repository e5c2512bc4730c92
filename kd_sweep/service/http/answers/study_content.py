"""What answers say of a study: how it was submitted, how it stands, how far it has come."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_sweep.errors import KdSweepError
from kd_sweep.service.http.answers.cursors import cursor_of, key_of
from kd_sweep.service.http.answers.refusals import RefusedRequestError
from kd_sweep.service.http.reading import Reading
from kd_sweep.service.http.serving import Serving
from kd_sweep.service.queue.order import num_before
from kd_sweep.service.queue.position import position
from kd_sweep.service.rows.models import Submission
from kd_sweep.service.service_errors import NotFoundError
from kd_sweep.tables.rendering.value_text import plain

_SHOWN = (
    *("name", "state", "wanted", "message", "priority", "slots", "submitted_by", "submitted_at", "started_at"),
    *("ended_at", "num_failures", "next_start_at", "revision"),
)
_TAG = re.compile(r'"r(\d+)-[0-9a-f]+"')


def shown_study(serving: Serving, name: str) -> dict[str, Any]:
    """Return all that is known of a study; `NotFoundError` where neither the queue nor the root has it."""
    with serving.rows.reading() as session:
        row = _row(session, name)
        waiting = None if row is None else position(session, name, serving.max_studies)
    progress = _progress(serving.reading, name)
    if row is None and progress is None:
        serving.reading.study(name)  # says what there is
        raise NotFoundError(f"study: {name!r} is not in {serving.reading.root}")
    content = _content(row, name, progress)
    content["waiting"] = None if waiting is None else {"position": waiting.position, "why": waiting.why}
    return content


def listed_studies(serving: Serving, state: str | None, after: str | None, limit: int) -> dict[str, Any]:
    """Return a page of the studies: those that were submitted, the newest first; then others in the root, by name.

    Args:
        serving: the service.
        state: only submitted studies in this state; all studies when None.
        after: the cursor; None for the first page.
        limit: the most studies.
    """
    kind, key = ("submitted", None) if after is None else key_of(after, 2)
    entries: list[tuple[str, dict[str, Any]]] = []
    with serving.rows.reading() as session:
        if kind == "submitted":
            query = select(Submission).order_by(Submission.id.desc()).limit(limit + 1)
            query = query if state is None else query.where(Submission.state == state)
            query = query if key is None else query.where(Submission.id < int(key))
            rows = session.scalars(query).all()
            for row in rows:
                is_queued = row.state == "queued" and row.wanted == "run"
                waiting = {"position": num_before(session, row) + 1, "why": None} if is_queued else None
                content = _content(row, row.name, _progress(serving.reading, row.name)) | {"waiting": waiting}
                entries.append((cursor_of("submitted", row.id), content))
        if state is None and len(entries) <= limit:
            submitted = set(session.scalars(select(Submission.name)))
            names = [name for name in serving.reading.names() if name not in submitted]
            names = [name for name in names if kind == "submitted" or name > str(key)]
            for name in names[: limit + 1 - len(entries)]:
                content = _content(None, name, _progress(serving.reading, name)) | {"waiting": None}
                entries.append((cursor_of("in root", name), content))
    shown = entries[:limit]
    return {"studies": [content for _, content in shown], "next": shown[-1][0] if len(entries) > limit else None}


def study_file(serving: Serving, name: str) -> str:
    """Return the study file as it was submitted, or the frozen study of the root; `NotFoundError` without either."""
    with serving.rows.reading() as session:
        row = _row(session, name)
        if row is not None:
            return row.study_yaml
    rows = serving.reading.study(name).table("studies").to_pylist()
    text = rows[0]["spec"] if rows else None
    if text is None:
        raise NotFoundError(f"study: {name!r} has no study file in its tables")
    return str(text)


def tag_of(content: Mapping[str, Any]) -> str:
    """Return the tag of what an answer says of a study; its first part is the revision, which changes refer to."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f'"r{content["revision"] or 0}-{digest[:16]}"'


def expected_revision(request: Request) -> int | None:
    """Return the revision that `If-Match` names; None where any will do.

    Raises:
        RefusedRequestError: it is no tag of a study.
    """
    given = request.headers.get("if-match", "*").strip()
    if given == "*":
        return None
    match = _TAG.fullmatch(given)
    if match is None:
        raise RefusedRequestError(412, f"If-Match: {given[:80]} is not the ETag of a study; read the study again")
    return int(match[1])


def _content(row: Submission | None, name: str, progress: dict[str, Any] | None) -> dict[str, Any]:
    if row is not None:
        return {field: getattr(row, field) for field in _SHOWN} | {"is_submitted": True, "progress": progress}
    empty: dict[str, Any] = dict.fromkeys(_SHOWN)
    state = None if progress is None else progress["status"]
    return empty | {"name": name, "state": state, "is_submitted": False, "progress": progress}


def _row(session: Session, name: str) -> Submission | None:
    return session.scalars(select(Submission).where(Submission.name == name)).one_or_none()


def _progress(reading: Reading, name: str) -> dict[str, Any] | None:
    """Return how far a study has come; None where it has no tables yet, or they cannot be read."""
    try:
        content: dict[str, Any] = plain(reading.progress(reading.study(name)))
    except NotFoundError:
        return None
    except KdSweepError as error:
        return {"status": None, "error": str(error)}
    return content

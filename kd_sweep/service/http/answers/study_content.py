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
from kd_sweep.service.http.answers.refusals import RefusedRequestError
from kd_sweep.service.http.reading import Reading
from kd_sweep.service.http.serving import Serving
from kd_sweep.service.queue.order import holders
from kd_sweep.service.queue.position import Position, standing
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
        waiting = None if row is None else standing(session, row, serving.max_studies, holders(session))
    progress = progress_of(serving.reading, name)
    if row is None and progress is None:
        serving.reading.study(name)  # says what there is
        raise NotFoundError(f"study: {name!r} is not in {serving.reading.root}")
    return study_content(row, name, progress, waiting)


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


def study_content(
    row: Submission | None, name: str, progress: dict[str, Any] | None, waiting: Position | None
) -> dict[str, Any]:
    """Return what lists and answers say of a study.

    Args:
        row: of its submission; None for one that is in the root alone.
        name: of the study.
        progress: as `progress_of` returns it.
        waiting: its position in the queue, and why it stands as it does; None without a row.
    """
    if row is None:
        empty: dict[str, Any] = dict.fromkeys(_SHOWN)
        content = empty | {"name": name, "state": None if progress is None else progress["status"]}
    else:
        content = {field: getattr(row, field) for field in _SHOWN}
    place = None if waiting is None else {"position": waiting.position, "why": waiting.why}
    return content | {"is_submitted": row is not None, "progress": progress, "waiting": place}


def progress_of(reading: Reading, name: str) -> dict[str, Any] | None:
    """Return how far a study has come; None where it has no tables yet, or they cannot be read."""
    try:
        study = reading.find(name)
        content: dict[str, Any] | None = None if study is None else plain(reading.progress(study))
    except KdSweepError as error:
        return {"status": None, "error": str(error)}
    return content


def _row(session: Session, name: str) -> Submission | None:
    return session.scalars(select(Submission).where(Submission.name == name)).one_or_none()

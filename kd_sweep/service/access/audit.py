"""The record of changes: who did what to which study, and with which request."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from kd_sweep.service.access.roles import Identity
from kd_sweep.service.rows.models import AuditRow


def record(
    session: Session, who: Identity, action: str, request_id: str, now: float, study: str | None = None, **detail: Any
) -> None:
    """Record a change, in the transaction that makes it.

    Args:
        session: of the change.
        who: has made it.
        action: a word for it, such as ``study.pause``.
        request_id: under which the log tells more.
        now: seconds since 1970.
        study: that was changed.
        detail: what else is worth knowing; no secrets. Of somebody whom the proxy names, that it does.
    """
    detail |= {"signed_in_by": "proxy"} if who.by_proxy else {}
    row = AuditRow(at=now, who=who.name, role=who.role.value, action=action, study=study, detail=detail)
    row.request_id = request_id
    session.add(row)


def recorded(session: Session, study: str | None, before: int | None, limit: int) -> Sequence[AuditRow]:
    """Return changes, the newest first: of a study or of all, those before a row's id if given."""
    query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit)
    if study is not None:
        query = query.where(AuditRow.study == study)
    if before is not None:
        query = query.where(AuditRow.id < before)
    return session.scalars(query).all()

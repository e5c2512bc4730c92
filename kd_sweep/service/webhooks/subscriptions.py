"""The webhooks that there are: which URL is told of which studies and events."""

import secrets
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from kd_sweep.errors import alternatives
from kd_sweep.service.queue.policy import Policy
from kd_sweep.service.queue.states import ENDED
from kd_sweep.service.queue.submissions import get
from kd_sweep.service.rows.models import Delivery, Submission, Webhook
from kd_sweep.service.service_errors import NotFoundError, ServiceError
from kd_sweep.service.webhooks.addresses import check_host

EVENTS = ENDED
"""A webhook is told of a study that comes into one of these states."""
MAX_URL = 2000


def add(
    session: Session, url: str, *, by: str, policy: Policy, events: Sequence[str] = EVENTS, study: str | None = None
) -> Webhook:
    """Make a webhook, with a secret of its own that signs what it is sent.

    Args:
        session: of a change.
        url: where to.
        by: who makes it.
        policy: whether it may lead into private networks.
        events: of `EVENTS`.
        study: the one that it is about; all of them when None.

    Raises:
        ServiceError: the URL or an event is none.
        PolicyError: the URL leads where this server sends nothing.
        NotFoundError: there is no such study.
    """
    check_url(url, policy)
    if stranger := next((event for event in events if event not in EVENTS), None):
        raise ServiceError(f"events: {stranger!r} is not an event; {alternatives(stranger, EVENTS)}")
    if not events:
        raise ServiceError(f"events: names none; possible: {', '.join(EVENTS)}")
    if study is not None:
        get(session, study)
    webhook = Webhook(url=url, secret=secrets.token_hex(32), events=list(events), study=study, created_by=by)
    webhook.created_at = time.time()
    session.add(webhook)
    session.flush()
    return webhook


def listing(session: Session) -> Sequence[Webhook]:
    """Return all webhooks, in the order in which they were made."""
    return session.scalars(select(Webhook).order_by(Webhook.id)).all()


def remove(session: Session, webhook_id: int) -> None:
    """Remove a webhook, and what it was still to be told; `NotFoundError` where there is none of this id."""
    webhook = session.get(Webhook, webhook_id)
    if webhook is None:
        raise NotFoundError(f"webhook: {webhook_id} is not the id of a webhook")
    session.delete(webhook)


def tell(session: Session, row: Submission, now: float) -> None:
    """Note for every webhook that waits for it that a study has come into its state."""
    about_it = or_(Webhook.study.is_(None), Webhook.study == row.name)
    for webhook in session.scalars(select(Webhook).where(about_it)):
        if row.state in webhook.events:
            delivery = Delivery(webhook_id=webhook.id, change=f"{row.id}-{row.revision}", event=row.state, next_at=now)
            delivery.payload = {
                "event": row.state,
                "study": row.name,
                "message": row.message,
                "submitted_by": row.submitted_by,
                "at": now,
            }
            session.add(delivery)


def check_url(url: str, policy: Policy) -> None:
    """Raise `ServiceError` where a URL is none of a webhook's, and `PolicyError` where it names a private address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ServiceError(f"url: {url[:100]!r} is no URL ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or len(url) > MAX_URL:
        raise ServiceError(f"url: {url[:100]!r} is no URL of a webhook; possible: https://host/path")
    if parts.username is not None or not url.isascii() or not url.isprintable() or " " in url:
        raise ServiceError("url: has a password or characters in it that no URL has; possible: https://host/path")
    check_host(parts.hostname, policy)


def deliveries_of(session: Session, webhook_id: int) -> dict[str, Any]:
    """Return what has become of what it is told: `num_waiting`, `last_delivered_at`, `last_error` of the newest."""
    is_its = Delivery.webhook_id == webhook_id
    counts = select(func.count(Delivery.next_at), func.max(Delivery.delivered_at)).where(is_its)
    num_waiting, last_delivered_at = session.execute(counts).one()
    last_error = session.scalars(
        select(Delivery.last_error).where(is_its).order_by(Delivery.id.desc()).limit(1)
    ).first()
    return {"num_waiting": num_waiting, "last_delivered_at": last_delivered_at, "last_error": last_error}

"""Routes of webhooks: URLs that are told how studies end."""

import time
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel, Field

from kd_sweep.service.access.audit import record
from kd_sweep.service.http.answers.problems import request_id_of
from kd_sweep.service.http.authorization import Admin, ForAdmins
from kd_sweep.service.http.routes.api_router import api_router
from kd_sweep.service.http.serving import serving_of
from kd_sweep.service.rows.models import Webhook
from kd_sweep.service.webhooks.subscriptions import EVENTS, add, listing, remove

router = api_router("webhooks")


class NewWebhook(BaseModel):
    """A webhook that is asked for."""

    url: str = Field(max_length=2000)
    events: list[str] = Field(default=list(EVENTS), max_length=len(EVENTS), description="States of a study.")
    study: str | None = Field(default=None, description="The one that it is about; all without it.")


@router.get("/webhooks", dependencies=[ForAdmins])
def webhooks(request: Request) -> dict[str, Any]:
    """The webhooks, without their secrets."""
    with serving_of(request).rows.reading() as session:
        return {"webhooks": [_content(webhook) for webhook in listing(session)]}


@router.post("/webhooks", status_code=201)
def make_webhook(request: Request, response: Response, who: Admin, wanted: NewWebhook) -> dict[str, Any]:
    """Make a webhook. The secret that signs what it is sent is in this answer and nowhere else."""
    serving = serving_of(request)
    serving.check_writable()
    with serving.rows.changing() as session:
        made = add(session, wanted.url, by=who.name, policy=serving.policy, events=wanted.events, study=wanted.study)
        detail = {"id": made.id, "url": made.url, "events": made.events}
        record(session, who, "webhook.create", request_id_of(request), time.time(), wanted.study, **detail)
        content = _content(made) | {"secret": made.secret}
    response.headers["Cache-Control"] = "no-store"
    return content


@router.delete("/webhooks/{webhook}", status_code=204)
def remove_webhook(request: Request, who: Admin, webhook: int) -> None:
    """Remove a webhook, and what it was still to be told."""
    serving = serving_of(request)
    serving.check_writable()
    with serving.rows.changing() as session:
        remove(session, webhook)
        record(session, who, "webhook.remove", request_id_of(request), time.time(), None, id=webhook)


def _content(webhook: Webhook) -> dict[str, Any]:
    return {name: getattr(webhook, name) for name in ("id", "url", "events", "study", "created_by", "created_at")}

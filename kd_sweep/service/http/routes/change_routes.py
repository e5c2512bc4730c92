"""Routes that change studies: submit, pause, resume, cancel, retry, extend, clone, delete."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from kd_sweep.service.access.audit import record
from kd_sweep.service.access.roles import Identity
from kd_sweep.service.http.answers.problems import request_id_of
from kd_sweep.service.http.answers.refusals import RefusedRequestError
from kd_sweep.service.http.answers.study_bodies import OPENAPI_STUDY, StudyBody, Submitted
from kd_sweep.service.http.answers.study_content import expected_revision, shown_study, study_file, tag_of
from kd_sweep.service.http.authorization import Admin, Operator
from kd_sweep.service.http.routes.api_router import PREFIX, api_router
from kd_sweep.service.http.routes.result_routes import StudyName
from kd_sweep.service.http.serving import Serving, serving_of
from kd_sweep.service.queue import changes
from kd_sweep.service.queue.study_files import check
from kd_sweep.service.queue.submissions import get, submit
from kd_sweep.service.rows.models import Submission
from kd_sweep.service.service_errors import ConflictError

router = api_router("changes")
_WANTED: dict[str, Callable[..., Submission]] = {
    "run": changes.resume,
    "pause": changes.pause,
    "cancel": changes.cancel,
}
_CREATED: dict[int | str, dict[str, Any]] = {
    200: {"description": "The same request with the same `Idempotency-Key` has made it before."},
    201: {"description": "It is in the queue."},
}


class Change(BaseModel):
    """What is to be different for a study; what is not named stays."""

    model_config = ConfigDict(extra="forbid")

    wanted: Literal["run", "pause", "cancel"] | None = Field(default=None, description="`run` resumes it.")
    priority: int | None = None
    slots: int | None = Field(default=None, description="The most trials at a time; null: what its study file says.")


@router.post("/studies", status_code=201, responses=_CREATED, openapi_extra=OPENAPI_STUDY)
def create(
    request: Request,
    response: Response,
    who: Operator,
    body: Submitted,
    idempotency_key: Annotated[str | None, Header(description="Sent again, it makes no second study.")] = None,
) -> dict[str, Any]:
    """Put a study into the queue: a study file as YAML, or JSON with it."""
    return _submitted(request, response, who, body, body.text(), idempotency_key, "study.submit")


@router.patch("/studies/{name}")
def change(request: Request, response: Response, who: Operator, name: StudyName, wanted: Change) -> dict[str, Any]:
    """Pause, resume or cancel a study, or change its priority or its slots; with `If-Match` only as it was read."""
    serving = serving_of(request)
    with _changing(request, serving) as (session, revision):
        row = get(session, name)
        if wanted.priority is not None:
            row = changes.set_priority(session, name, wanted.priority, revision=revision)
            revision = None
        if "slots" in wanted.model_fields_set:
            row = changes.set_slots(session, name, wanted.slots, policy=serving.policy, revision=revision)
            revision = None
        if wanted.wanted is not None:
            row = _WANTED[wanted.wanted](session, name, revision=revision)
        action = f"study.{wanted.wanted}" if wanted.wanted else "study.change"
        asked = wanted.model_dump(exclude_unset=True)
        record(session, who, action, request_id_of(request), time.time(), row.name, **asked)
    return _shown(serving, response, name)


@router.post("/studies/{name}/retry")
def retry(request: Request, response: Response, who: Operator, name: StudyName) -> dict[str, Any]:
    """Run the failed trials of a study again, or a study that could not be run."""
    serving = serving_of(request)
    with _changing(request, serving) as (session, revision):
        changes.retry(session, name, revision=revision)
        record(session, who, "study.retry", request_id_of(request), time.time(), name)
    return _shown(serving, response, name)


@router.post("/studies/{name}/extend", openapi_extra=OPENAPI_STUDY)
def extend(request: Request, response: Response, who: Operator, name: StudyName, body: Submitted) -> dict[str, Any]:
    """Replace the study file by a larger one, or change fields of it by `overrides`: more seeds, more budget."""
    serving = serving_of(request)
    serving.check_writable()
    with serving.rows.reading() as session:
        base = get(session, name).study_yaml
    checked = check(body.text(base), serving.policy, body.archive)
    with _changing(request, serving) as (session, revision):
        changes.extend(session, name, checked, revision=revision)
        detail = {"overrides": body.overrides, "num_trials": checked.num_trials}
        record(session, who, "study.extend", request_id_of(request), time.time(), name, **detail)
    return _shown(serving, response, name)


@router.post("/studies/{name}/clone", status_code=201, responses=_CREATED, openapi_extra=OPENAPI_STUDY)
def clone(
    request: Request,
    response: Response,
    who: Operator,
    name: StudyName,
    body: Submitted,
    idempotency_key: Annotated[str | None, Header(description="Sent again, it makes no second study.")] = None,
) -> dict[str, Any]:
    """Submit another study like this one, under the `name` of the body, with fields changed by its `overrides`."""
    if body.name is None or body.yaml is not None or body.study is not None:
        raise RefusedRequestError(422, "body: needs a name for the clone, and brings no study of its own")
    text = body.text(study_file(serving_of(request), name))
    return _submitted(request, response, who, body, text, idempotency_key, "study.clone", cloned_from=name)


@router.delete("/studies/{name}", status_code=202)
def delete(request: Request, who: Admin, name: StudyName) -> dict[str, Any]:
    """Stop a study, and delete it with its results; teachers stay. It is done soon after the answer."""
    serving = serving_of(request)
    with _changing(request, serving) as (session, revision):
        changes.delete(session, name, revision=revision)
        record(session, who, "study.delete", request_id_of(request), time.time(), name)
    return {"name": name, "wanted": "delete"}


@contextmanager
def _changing(request: Request, serving: Serving) -> Iterator[tuple[Session, int | None]]:
    """Yield a session for a change, and the revision that the client has seen."""
    serving.check_writable()
    revision = expected_revision(request)
    try:
        with serving.rows.changing() as session:
            yield session, revision
    except ConflictError as error:
        if revision is None:
            raise
        raise RefusedRequestError(412, str(error)) from None


def _submitted(
    request: Request,
    response: Response,
    who: Identity,
    body: StudyBody,
    text: str,
    idempotency_key: str | None,
    action: str,
    **detail: Any,
) -> dict[str, Any]:
    serving = serving_of(request)
    serving.check_writable()
    checked = check(text, serving.policy, body.archive)
    with serving.rows.changing() as session:
        row, is_new = submit(
            session,
            checked,
            by=who.name,
            policy=serving.policy,
            priority=body.priority,
            slots=body.slots,
            idempotency_key=idempotency_key,
        )
        if is_new:
            detail |= {"num_trials": checked.num_trials, "priority": row.priority}
            record(session, who, action, request_id_of(request), time.time(), row.name, **detail)
        else:
            response.status_code = 200
    response.headers["Location"] = f"{PREFIX}/studies/{row.name}"
    return _shown(serving, response, row.name)


def _shown(serving: Serving, response: Response, name: str) -> dict[str, Any]:
    content = shown_study(serving, name)
    response.headers["ETag"] = tag_of(content)
    return content

"""Problems as answers: `application/problem+json` whose detail is the one line of the command line."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from kd_sweep.errors import (
    ClusterError,
    ClusterLostError,
    CorruptFileError,
    KdSweepError,
    RayStartError,
    StorageError,
    StudyLockedError,
    UserError,
)
from kd_sweep.tables.rendering.value_text import escaped

MEDIA_TYPE = "application/problem+json"
_STATUSES: tuple[tuple[type[KdSweepError], int], ...] = (
    (StudyLockedError, 409),
    (ClusterError, 503),
    (ClusterLostError, 503),
    (RayStartError, 503),
    (CorruptFileError, 500),
    (StorageError, 500),
    (UserError, 422),
)
"""The status of each error that has none of its own; the first that fits counts."""
UNEXPECTED = "the service failed; its log has the reason under this request id"


def status_of(error: KdSweepError) -> int:
    """Return the status of the answer that tells of an error."""
    own = getattr(error, "status", None)
    if isinstance(own, int):
        return own
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def problem(
    status: int, detail: str, request_id: str, headers: Mapping[str, str] | None = None, error: str | None = None
) -> Response:
    """Return a problem as an answer.

    Args:
        status: of HTTP.
        detail: one line; what would control a terminal is written out.
        request_id: under which the log tells more.
        headers: of the answer.
        error: the class in `kd_sweep.errors` that the command line would raise.
    """
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": escaped(detail.replace("\n", "\\n")),
        "request_id": request_id,
    }
    if error is not None:
        content["error"] = error
    return Response(json.dumps(content, ensure_ascii=False), status, dict(headers or {}), MEDIA_TYPE)


def request_id_of(request: Request) -> str:
    """Return the id that the answer and the log have for this request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def problem_of(error: KdSweepError, request_id: str) -> Response:
    """Return the answer that tells of an error."""
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == KdSweepError.__module__)
    name = None if kind is KdSweepError else kind.__name__
    return problem(status_of(error), str(error), request_id, getattr(error, "headers", None), name)


def add_problem_handlers(app: FastAPI) -> None:
    """Let every error of the application be a problem; those that nobody expects are caught by the request log."""
    app.add_exception_handler(KdSweepError, _of_error)
    app.add_exception_handler(RequestValidationError, _of_arguments)
    app.add_exception_handler(HTTPException, _of_http)
    app.add_exception_handler(UnicodeEncodeError, _of_text)


async def _of_error(request: Request, error: Any) -> Response:
    return problem_of(error, request_id_of(request))


async def _of_arguments(request: Request, error: Any) -> Response:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return problem(400, f"body: is not JSON ({first['ctx']['error']})", request_id_of(request))
    name = ".".join(str(part) for part in first["loc"] if part not in ("query", "header", "path"))
    value = "" if first["type"] == "missing" or isinstance(first["input"], dict | list) else f" {first['input']!r}:"
    return problem(422, f"{name}:{value} {first['msg'][0].lower()}{first['msg'][1:]}", request_id_of(request))


async def _of_text(request: Request, error: Any) -> Response:
    """Answer for half of a surrogate pair, which JSON can escape, and which nothing can keep or print."""
    part = error.object[error.start : error.end]
    return problem(422, f"text: {part[:20]!a} is no character that UTF-8 can write", request_id_of(request))


async def _of_http(request: Request, error: Any) -> Response:
    detail = str(error.detail)
    if error.status_code == 404 and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"path: {request.url.path} is not a path of this service; see /api/v1/openapi.json"
    elif error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        detail = f"method: {request.method} is not possible for {request.url.path}; possible: {allowed}"
    return problem(error.status_code, detail, request_id_of(request), error.headers)

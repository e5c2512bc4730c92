"""The log of requests: one JSON line each, and the id that an answer, a problem and the log share."""

import json
import logging
import re
import secrets
import time
import traceback
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kd_sweep.redaction import redacted, secret_variables
from kd_sweep.service.http.answers.problems import UNEXPECTED, problem
from kd_sweep.service.http.prometheus import Counters

LOG = logging.getLogger(__name__)
HEADER = "X-Request-Id"
_ID = re.compile(r"[\w.-]{8,64}")


class JsonLines(logging.Formatter):
    """Log records as JSON, one a line, without secrets."""

    def __init__(self) -> None:
        super().__init__()
        self._secrets = secret_variables()

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        content: dict[str, Any] = {"time": f"{moment}.{record.msecs:03.0f}Z", "level": record.levelname.lower()}
        content |= getattr(record, "fields", None) or {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            content["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        shown = {
            name: redacted(value, self._secrets) if isinstance(value, str) else value for name, value in content.items()
        }
        return json.dumps(shown, ensure_ascii=False, default=str)


class RequestLog:
    """Gives every request an id, logs it when it is answered, and answers for what nobody expected."""

    def __init__(self, app: ASGIApp, counters: Counters) -> None:
        self._app, self._counters = app, counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = given if _ID.fullmatch(given) else secrets.token_hex(8)
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        begun, answer = time.perf_counter(), _Answer(send, request_id)
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            LOG.exception("failed", extra={"fields": {"event": "failure", "request_id": request_id}})
            if answer.status is None:
                await problem(500, UNEXPECTED, request_id)(scope, receive, answer.send)
        duration_s = time.perf_counter() - begun
        route = getattr(scope.get("route"), "path_format", "none")
        self._counters.answered(scope["method"], route, answer.status or 499, duration_s)
        fields = {
            "event": "request",
            "request_id": request_id,
            "method": scope["method"],
            "path": scope["path"],
            "status": answer.status,
            "bytes": answer.num_bytes,
            "duration_s": round(duration_s, 4),
            "who": state.get("who"),
        }
        LOG.info("request", extra={"fields": fields})


class _Answer:
    """Passes an answer on, with the id in its headers, and remembers its status and length."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.status: int | None = None
        self.num_bytes = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[HEADER] = self._request_id
        elif message["type"] == "http.response.body":
            self.num_bytes += len(message.get("body", b""))
        await self._send(message)

"""The route of events: a stream that says what changes, and goes on where it was cut off."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from kd_sweep.service.http.answers.refusals import too_many
from kd_sweep.service.http.authorization import Viewer, still_valid
from kd_sweep.service.http.routes.api_router import api_router
from kd_sweep.service.http.serving import serving_of
from kd_sweep.service.http.watching.feed import Event, Feed

router = api_router("events")
HEARTBEAT_S = 10.0
_RETRY_MS = 2000
_NUMBER = re.compile(r"[0-9]{1,18}")
"""Of an event, as a client sends it back."""


@router.get("/events", responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}})
async def events(
    request: Request,
    who: Viewer,
    study: Annotated[str | None, Query(description="Only of this study.")] = None,
    after: Annotated[str | None, Query(max_length=100, description="The id of an event; as `Last-Event-ID`.")] = None,
    last_event_id: Annotated[str | None, Header(description="The id of the last event that came.")] = None,
) -> StreamingResponse:
    """A stream of server-sent events: `study`, `progress`, `epochs`; `reset` where events were missed; `heartbeat`.

    After `reset` read anew what is shown. The stream ends when the token does.
    """
    serving, counters = serving_of(request), request.app.state.counters
    if counters.num_streams >= serving.max_streams or counters.streams[who.name] >= max(1, serving.max_streams // 2):
        raise too_many(f"events: {counters.num_streams} streams are open, as many as this server has", 10)
    stream = _stream(request, who.name, study, last_event_id or after)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(stream, 200, headers, "text/event-stream")


async def _stream(request: Request, who: str, study: str | None, cursor: str | None) -> AsyncIterator[str]:
    feed: Feed = request.app.state.feed
    counters = request.app.state.counters
    loop, woken = asyncio.get_running_loop(), asyncio.Event()

    def notify() -> None:
        loop.call_soon_threadsafe(woken.set)

    counters.streams[who] += 1
    feed.listen(notify)
    try:
        number, first = _begin(feed, cursor)
        yield f"retry: {_RETRY_MS}\n{first}"
        while True:
            found = feed.since(number)
            if found is None:
                number = feed.last
                yield _message("reset", "{}", feed, number)
                continue
            for event in found:
                number = event.number
                if study in (None, event.study):
                    yield _of_event(event, feed)
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await woken.wait()
                woken.clear()
            except TimeoutError:
                if not await run_in_threadpool(still_valid, request):
                    return
                yield _message("heartbeat", json.dumps({"time": time.time()}))
    finally:
        feed.leave(notify)
        counters.streams[who] -= 1


def _begin(feed: Feed, cursor: str | None) -> tuple[int, str]:
    """Return the number of the last event that the client has, and what it is told first."""
    name, _, number = (cursor or "").partition("-")
    if name == feed.name and _NUMBER.fullmatch(number):
        return int(number), ""
    return feed.last, _message("hello" if cursor is None else "reset", "{}", feed, feed.last)


def _of_event(event: Event, feed: Feed) -> str:
    return _message(event.kind, event.data, feed, event.number)


def _message(kind: str, data: str, feed: Feed | None = None, number: int = 0) -> str:
    cursor = "" if feed is None else f"id: {feed.name}-{number}\n"
    return f"{cursor}event: {kind}\ndata: {data}\n\n"

"""Large answers: sent piece by piece, and only so many of them are held for clients that read slowly."""

import threading
import weakref
from collections.abc import Mapping

from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from kd_sweep.service.http.answers.refusals import too_many

LARGE_BYTES = 1024**2
MOST_BYTES = 128 * 1024**2
"""Of all large answers together that are not sent yet."""
_PIECE_BYTES = 256 * 1024
"""The next piece is handed over when the client has taken most of the one before."""


def answer(content: bytes, headers: Mapping[str, str], media_type: str) -> Response:
    """Return an answer; `RefusedRequestError` with 429 where it is large, and too much waits for slow readers."""
    kind = Response if len(content) < LARGE_BYTES else _LargeAnswer
    return kind(content, 200, headers, media_type)


class _Held:
    """Counts the bytes of large answers that are not sent yet."""

    def __init__(self) -> None:
        self._lock, self._num_bytes = threading.Lock(), 0

    def take(self, num_bytes: int) -> None:
        with self._lock:
            if self._num_bytes and self._num_bytes + num_bytes > MOST_BYTES:
                held = self._num_bytes
                raise too_many(
                    f"answers: {held} bytes wait for clients that read slowly, as many as this server holds", 10
                )
            self._num_bytes += num_bytes

    def give_back(self, num_bytes: int) -> None:
        with self._lock:
            self._num_bytes -= num_bytes


_HELD = _Held()


class _LargeAnswer(Response):
    def __init__(self, content: bytes, status: int, headers: Mapping[str, str], media_type: str) -> None:
        _HELD.take(len(content))
        self._give_back = weakref.finalize(self, _HELD.give_back, len(content))  # also where it is never sent
        super().__init__(content, status, headers, media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for begin in range(0, len(self.body), _PIECE_BYTES):
                end = begin + _PIECE_BYTES
                piece = bytes(self.body[begin:end])
                await send({"type": "http.response.body", "body": piece, "more_body": end < len(self.body)})
        finally:
            self._give_back()

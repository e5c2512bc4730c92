"""Answers that many ask for: made and compressed once; while a study runs they stand for a while."""

import gzip
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from fastapi import Request, Response

from kd_sweep.service.http.answers.negotiation import is_known, not_modified
from kd_sweep.service.http.answers.table_forms import Form
from kd_sweep.service.http.standing_answers import StandingAnswers

RENEWED_IN, BEHIND = "X-KD-Sweep-Renewed-In", "X-KD-Sweep-Behind"
"""Headers: in how many seconds a newer answer may be had, and whether the tables have changed since this one."""
_COMPRESSED_FROM = 1024
_LEVEL = 5


@dataclass(frozen=True)
class _Sent:
    """An answer as it is sent."""

    content: bytes
    is_compressed: bool
    headers: dict[str, str]

    @property
    def nbytes(self) -> int:
        return len(self.content)


def shared_answer(
    request: Request, form: Form, tag: str, compute: Callable[[], Response], *key: Hashable, is_live: bool
) -> Response:
    """Return an answer from tables: the one that was made before, where it still holds.

    While a study runs, JSON may be a while older than the tables, the longer the more it takes to compute; the headers
    `RENEWED_IN` and `BEHIND` say so. Other forms, and what is asked of studies that do not run, are as the tables are.

    Args:
        request: that is answered.
        form: of the answer.
        tag: of what the answer is now, with its form.
        compute: returns the answer as it is now.
        key: names the question.
        is_live: whether its study runs.
    """
    if form not in (Form.JSON, Form.COLUMNS):
        return not_modified(tag) if is_known(request, tag) else compute()
    answers: StandingAnswers = request.app.state.standing
    standing = answers.get((form, *key), tag, lambda: _sent(compute()), may_stand=is_live)
    told = {RENEWED_IN: f"{standing.renewed_in_s:.1f}", BEHIND: str(int(standing.is_behind))}
    told["Age"] = str(int(standing.age_s))
    if is_known(request, standing.tag):
        answer = not_modified(standing.tag)
        answer.headers.update(told)
        return answer
    sent = standing.answer
    headers = sent.headers | told | {"ETag": standing.tag, "Vary": "Accept, Accept-Encoding"}
    if not sent.is_compressed:
        return Response(sent.content, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(sent.content, headers=headers | {"Content-Encoding": "gzip"})
    return Response(gzip.decompress(sent.content), headers=headers)


def _sent(answer: Response) -> _Sent:
    headers = {name: value for name, value in answer.headers.items() if name not in ("content-length", "vary", "etag")}
    content = bytes(answer.body)
    if len(content) < _COMPRESSED_FROM:
        return _Sent(content, False, headers)
    return _Sent(gzip.compress(content, _LEVEL, mtime=0), True, headers)

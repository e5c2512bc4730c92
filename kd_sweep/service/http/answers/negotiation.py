"""The content of answers: a table as JSON, CSV, Parquet or a stream of Arrow, by `Accept` or `?format=`."""

from typing import Annotated, Any

import pyarrow as pa
from fastapi import Depends, Header, Query, Request, Response

from kd_sweep.service.http.answers.large_answers import answer
from kd_sweep.service.http.answers.refusals import RefusedRequestError
from kd_sweep.service.http.answers.table_forms import MEDIA_TYPES, Form, encoded

_BY_ACCEPT = {
    "application/json": Form.JSON,
    "text/csv": Form.CSV,
    "application/vnd.apache.parquet": Form.PARQUET,
    "application/vnd.apache.arrow.stream": Form.ARROW,
    "application/*": Form.JSON,
    "*/*": Form.JSON,
}
OPENAPI_TABLE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The table, as `Accept` or `format` says.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            **{media: {"schema": {"type": "string"}} for media in ("text/csv",)},
            "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
            "application/vnd.apache.arrow.stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
    304: {"description": "`If-None-Match` has the tag of this content."},
}
"""What OpenAPI says of the answers of a route that returns a table."""
REVALIDATED = {"Vary": "Accept", "Cache-Control": "private, no-cache"}
"""Headers of an answer that a client may keep, and has to ask for again by its tag."""


def accepted_form(accept: str | None) -> Form:
    """Return the form that an `Accept` header prefers; JSON where it says nothing.

    Raises:
        RefusedRequestError: it takes none of the forms.
    """
    if not accept or not accept.strip():
        return Form.JSON
    offers: list[tuple[float, Form]] = []
    for offer in accept.split(","):
        media, *parameters = (part.strip().lower() for part in offer.split(";"))
        quality = next((_quality(value) for value in parameters if value.startswith("q=")), 1.0)
        if media in _BY_ACCEPT and quality > 0:
            offers.append((quality, _BY_ACCEPT[media]))
    if not offers:
        possible = ", ".join(media for media in _BY_ACCEPT if "*" not in media)
        raise RefusedRequestError(
            406, f"Accept: {accept[:80]!r} takes none of the forms of a table; possible: {possible}"
        )
    return max(offers, key=lambda offer: offer[0])[1]


async def _form(
    format: Annotated[Form | None, Query(description="The form of the table; without it `Accept` says.")] = None,
    accept: Annotated[str | None, Header()] = None,
) -> Form:
    return format or accepted_form(accept)


WantedForm = Annotated[Form, Depends(_form)]
"""The form that the request asks for, as an argument of a route."""


def table_answer(
    table: pa.Table, form: Form, name: str, *, next_cursor: str | None = None, tag: str | None = None, **about: Any
) -> Response:
    """Return a table as an answer.

    Args:
        table: what to send.
        form: as what.
        name: of the file that a browser saves, without its suffix.
        next_cursor: where the next page begins; None behind the last. It is in the JSON and in the header ``Link``.
        tag: of the content, for `ETag`.
        about: further keys of the JSON.

    Raises:
        RefusedRequestError: it is large, and too many large ones wait for clients that read slowly.
    """
    content = encoded(table, form, {**about, "next": next_cursor})
    return encoded_answer(content, form, name, next_cursor=next_cursor, tag=tag)


def encoded_answer(
    content: bytes, form: Form, name: str, *, next_cursor: str | None = None, tag: str | None = None
) -> Response:
    """Return a table that is encoded already as an answer; arguments and errors as `table_answer`."""
    headers = dict(REVALIDATED)
    if tag is not None:
        headers["ETag"] = tag
    if next_cursor is not None:
        headers["Link"] = f'<?after={next_cursor}>; rel="next"'
    if form in (Form.CSV, Form.PARQUET):
        headers["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    return answer(content, headers, MEDIA_TYPES[form])


def is_known(request: Request, tag: str) -> bool:
    """Whether the client has the content with this tag already: `If-None-Match` names it."""
    known = request.headers.get("if-none-match", "")
    return known.strip() == "*" or tag.removeprefix("W/") in (
        one.strip().removeprefix("W/") for one in known.split(",")
    )


def not_modified(tag: str) -> Response:
    """Return the answer to a client that has this content already."""
    return Response(status_code=304, headers={"ETag": tag, **REVALIDATED})


def _quality(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0

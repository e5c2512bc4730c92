"""The content of answers: a table as JSON, CSV, Parquet or a stream of Arrow, by `Accept` or `?format=`."""

import io
import json
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import pyarrow as pa
from fastapi import Depends, Header, Query, Request, Response

from kd_sweep.service.http.answers.large_answers import answer
from kd_sweep.service.http.answers.refusals import RefusedRequestError
from kd_sweep.tables.rendering.output_formats import render
from kd_sweep.tables.rendering.value_text import plain


class Form(StrEnum):
    """What a table is sent as."""

    JSON = "json"
    """``{"rows": [{column: value}], "next": cursor or null}``"""
    COLUMNS = "columns"
    """``{"columns": {column: [values]}, "num_rows": n, "next": cursor or null}``: JSON, with each name once."""
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"


MEDIA_TYPES = {
    Form.JSON: "application/json",
    Form.COLUMNS: "application/json",
    Form.CSV: "text/csv; charset=utf-8",
    Form.PARQUET: "application/vnd.apache.parquet",
    Form.ARROW: "application/vnd.apache.arrow.stream",
}
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


def _form(
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
    headers = dict(REVALIDATED)
    if tag is not None:
        headers["ETag"] = tag
    if next_cursor is not None:
        headers["Link"] = f'<?after={next_cursor}>; rel="next"'
    if form in (Form.CSV, Form.PARQUET):
        headers["Content-Disposition"] = f'attachment; filename="{name}.{form}"'
    return answer(_encoded(table, form, {**about, "next": next_cursor}), headers, MEDIA_TYPES[form])


def arrow_stream(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[bytes]:
    """Yield the bytes of a stream of Arrow, batch by batch, so that no table has to fit into memory."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            yield sink.getvalue()
            sink.seek(0)
            sink.truncate()
    yield sink.getvalue()


def is_known(request: Request, tag: str) -> bool:
    """Whether the client has the content with this tag already: `If-None-Match` names it."""
    known = request.headers.get("if-none-match", "")
    return known.strip() == "*" or tag.removeprefix("W/") in (
        one.strip().removeprefix("W/") for one in known.split(",")
    )


def not_modified(tag: str) -> Response:
    """Return the answer to a client that has this content already."""
    return Response(status_code=304, headers={"ETag": tag, **REVALIDATED})


def _encoded(table: pa.Table, form: Form, about: dict[str, Any]) -> bytes:
    if form is Form.ARROW:
        return b"".join(arrow_stream(table.schema, iter(table.to_batches())))
    if form is Form.JSON:
        content = {"rows": [plain(row) for row in table.to_pylist()], **about}
    elif form is Form.COLUMNS:
        columns = {name: plain(table[name].to_pylist()) for name in table.column_names}
        content = {"columns": columns, "num_rows": table.num_rows, **about}
    else:
        sink = io.BytesIO()
        render(table, form.value, sink)
        return sink.getvalue()
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _quality(parameter: str) -> float:
    try:
        return float(parameter.removeprefix("q="))
    except ValueError:
        return 0.0

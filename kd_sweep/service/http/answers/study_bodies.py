"""The bodies of requests that bring a study: a study file as YAML, or JSON with the study and how it is to be run."""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kd_sweep.service.http.answers.refusals import RefusedRequestError
from kd_sweep.service.queue.study_files import with_changes
from kd_sweep.study.file.yaml_writer import yaml_text

_MOST_OVERRIDES = 200


class StudyBody(BaseModel):
    """A study, and how it is to be run."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    yaml: str | None = Field(default=None, description="The study file as text; its comments are kept.")
    study: dict[str, Any] | None = Field(default=None, description="The study file's content, instead of `yaml`.")
    overrides: list[str] = Field(
        default=[], max_length=_MOST_OVERRIDES, description="`key=value` each, as with `--set`."
    )
    name: str | None = Field(default=None, description="Another name for the study.")
    priority: int = Field(default=0, description="Higher is run first.")
    slots: int | None = Field(default=None, description="The most trials at a time.")
    plugins_zip: str | None = Field(
        default=None, description="A ZIP file, in base64, of the modules that the study names in `plugins`."
    )

    @model_validator(mode="after")
    def _is_one_study(self) -> Self:
        if self.yaml is not None and self.study is not None:
            raise ValueError("has both yaml and study, where one is needed")
        return self

    def text(self, base: str | None = None) -> str:
        """Return the study file that is asked for.

        Args:
            base: the study file that is changed where the body brings none.

        Raises:
            RefusedRequestError: there is no study file at all.
            SpecError: an override is none.
        """
        own = yaml_text(self.study) if self.study is not None else self.yaml
        if (text := own if own is not None else base) is None:
            raise RefusedRequestError(422, "body: has no study; possible: yaml (a text) or study (an object)")
        return with_changes(text, self.overrides, self.name)

    @property
    def archive(self) -> bytes | None:
        """The ZIP file of the plug-ins; refused where it is no base64."""
        if self.plugins_zip is None:
            return None
        try:
            return base64.b64decode(self.plugins_zip, validate=True)
        except binascii.Error:
            raise RefusedRequestError(422, "plugins_zip: is not base64") from None


async def _study_body(
    request: Request,
    priority: Annotated[int, Query(description="With a body of YAML: higher is run first.")] = 0,
    slots: Annotated[int | None, Query(description="With a body of YAML: the most trials at a time.")] = None,
) -> StudyBody:
    content = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.endswith("yaml"):
        return StudyBody(yaml=_text(content), priority=priority, slots=slots)
    try:
        document = json.loads(_text(content) or "{}")
    except (ValueError, RecursionError) as error:
        raise RefusedRequestError(400, f"body: is not JSON ({str(error)[:100]})") from None
    if not isinstance(document, Mapping):
        raise RefusedRequestError(422, "body: is not an object with yaml or study")
    try:
        return StudyBody.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "body"
        raise RefusedRequestError(422, f"{name}: {first['msg'].removeprefix('Value error, ')}") from None


Submitted = Annotated[StudyBody, Depends(_study_body)]
"""The study of a request, as an argument of a route."""
OPENAPI_STUDY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": StudyBody.model_json_schema()},
            "application/yaml": {"schema": {"type": "string"}},
        },
    }
}
"""What OpenAPI says of such a body."""


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RefusedRequestError(400, "body: is not UTF-8 text") from None

"""A named query: its typed parameters, the columns and number of rows that its answer has, what it leaves out."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Annotated, Any

import pyarrow as pa
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from kd_sweep.errors import QueryError, alternatives
from kd_sweep.tables.reader import Results

_REMARKS = b"remarks"
_NO_SUCH_VALUE = {
    "int_parsing": "not a whole number",
    "int_from_float": "not a whole number",
    "float_parsing": "not a number",
    "datetime_from_date_parsing": "not a time, such as 2026-01-31T12:00",
}
"""Words for text that stands for no value of a parameter, by pydantic's type of the error."""


class QueryParameters(BaseModel):
    """The parameters of a named query. Each has a default, or is asked for; text is taken for numbers and lists too."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    study: str | None = None
    """This study alone, of several."""


def _parts(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_parts)]
"""Several names, as text with commas between them."""
Numbers = Annotated[tuple[float, ...], BeforeValidator(_parts)]


@dataclass(frozen=True)
class NamedQuery:
    """A question to the tables that has a name."""

    function: Callable[[Results, Any], pa.Table]
    """From results and parameters to the answer. The first line of its docstring says what it answers."""
    parameters: type[QueryParameters] = QueryParameters
    columns: pa.Schema | None = field(default=None, repr=False)
    """Those of every answer, in this order, beside those of searched fields. None: as its docstring says."""
    most_rows: int | None = None
    """None: as many as there are settings, trials, or epochs."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.function.__name__

    def parsed(self, given: Mapping[str, Any]) -> QueryParameters:
        """Return the parameters with their defaults; equal ones are one question, however it was asked.

        Raises:
            QueryError: one is unknown, missing or wrong. One line.
        """
        try:
            return self.parameters.model_validate(dict(given))
        except ValidationError as error:
            raise QueryError(self._mistake(error)) from None

    def answer(self, results: Results, given: Mapping[str, Any]) -> pa.Table:
        """Return the answer for these parameters; `remarks_of` has what it leaves out.

        Raises:
            QueryError: a parameter is unknown, missing or wrong, or the answer would be too large. One line.
        """
        parameters = self.parsed(given)
        if parameters.study is not None:
            results = Results(results.select(parameters.study)[parameters.study], results.limits)
        return self.function(results.for_views(), parameters)

    def _mistake(self, error: ValidationError) -> str:
        from kd_sweep.study.file.messages import value_rule  # only where something is wrong

        details = error.errors(include_url=False)[0]
        name = str(details["loc"][0]) if details["loc"] else ""
        if details["type"] == "extra_forbidden":
            return (
                f"{self.name}: {name!r} is none of its parameters; {alternatives(name, self.parameters.model_fields)}"
            )
        if details["type"] == "missing":
            return f"{self.name}: {name} is missing"
        rule = _NO_SUCH_VALUE.get(details["type"])
        broken = value_rule(details) if rule is None else f"{details['input']!r} is {rule}"
        return f"{self.name}: {name}: {broken}" if name else f"{self.name}: {broken}"


def without_parameters(function: Callable[[Results], pa.Table]) -> NamedQuery:
    """Return the named query of a function that has no parameters but the study."""

    @wraps(function)
    def question(results: Results, _: QueryParameters) -> pa.Table:
        return function(results)

    return NamedQuery(question)


def with_remarks(table: pa.Table, remarks: Sequence[str]) -> pa.Table:
    """Return the answer with what is to be said of it, a sentence each, in the metadata of its schema."""
    if not remarks:
        return table
    return table.replace_schema_metadata(
        {**(table.schema.metadata or {}), _REMARKS: json.dumps(list(remarks)).encode()}
    )


def remarks_of(table: pa.Table) -> list[str]:
    """Return what `with_remarks` has put into an answer."""
    remarks: list[str] = json.loads((table.schema.metadata or {}).get(_REMARKS, b"[]"))
    return remarks

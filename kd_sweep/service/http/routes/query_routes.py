"""Routes that ask the tables: SQL, named queries."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pyarrow as pa
from fastapi import Path, Query, Request, Response
from pydantic import BaseModel, Field

from kd_sweep.errors import alternatives
from kd_sweep.service.http.answers.negotiation import OPENAPI_TABLE, WantedForm, encoded_answer, table_answer
from kd_sweep.service.http.answers.paging import MOST_ROWS
from kd_sweep.service.http.answers.shared_answers import shared_answer
from kd_sweep.service.http.answers.table_forms import Form
from kd_sweep.service.http.authorization import ForViewers
from kd_sweep.service.http.routes.api_router import api_router
from kd_sweep.service.http.routes.result_routes import StudyName, TrialId, results_of, trial_named
from kd_sweep.service.http.serving import serving_of
from kd_sweep.service.http.slots import VIEWS
from kd_sweep.service.http.statements.statement_process import Question
from kd_sweep.service.http.statements.statement_processes import Statements
from kd_sweep.service.service_errors import NotFoundError
from kd_sweep.study.file.field_docstrings import DescribedSchema
from kd_sweep.tables.column_meanings import column_meaning
from kd_sweep.tables.queries.named_queries import NAMED_QUERIES, answer
from kd_sweep.tables.queries.named_query import NamedQuery, remarks_of
from kd_sweep.tables.reader import Results
from kd_sweep.tables.schema import TABLES

router = api_router("queries", ForViewers)

_COMPARED = ("settings", "metrics", "pairs", "only_first", "only_second")
"""The tables of a comparison of studies."""

OfStudy = Annotated[str | None, Query(description="Of this study alone; of all without it.")]


class Statement(BaseModel):
    """A statement of SQL."""

    query: str = Field(description="One statement that reads; `$name` stands for a parameter.", max_length=100_000)
    parameters: dict[str, str | int | float | bool | None] = Field(default={}, description="Values by name.")
    study: str | None = Field(default=None, description="Of this study alone; of all without it.")


@router.post("/sql", responses=OPENAPI_TABLE)
def sql(request: Request, statement: Statement, form: WantedForm) -> Response:
    """The answer to one statement of SQL over the tables, in DuckDB's dialect. It changes nothing.

    In JSON the answer ends after 10,000 rows; `truncated` says so. Other forms have all of it.
    """
    return _answered(request, statement, form)


@router.get("/sql", responses=OPENAPI_TABLE)
def sql_by_link(
    request: Request,
    query: Annotated[str, Query(max_length=20_000, description="One statement that reads.")],
    form: WantedForm,
    study: OfStudy = None,
) -> Response:
    """The same for a link: a statement without parameters."""
    return _answered(request, Statement(query=query, study=study), form)


@router.get("/tables")
def tables_of_root(request: Request) -> dict[str, Any]:
    """The tables that SQL sees, each column with its type and what it means; searched fields are columns, too."""
    reading = serving_of(request).reading
    results = reading.results()
    if results is None:
        return _columns(TABLES)
    return reading.remembered(
        ("columns",),
        reading.tag(results, "columns"),
        lambda: _columns({name: results.for_views().sql(f"SELECT * FROM {name} LIMIT 0").schema for name in TABLES}),
    )


@router.get("/queries")
def queries() -> dict[str, Any]:
    """The named queries, each with what it answers, the JSON Schema of its parameters, and the most rows."""
    return {"queries": [_about(query) for query in NAMED_QUERIES.values()]}


@router.get("/queries/{query}", responses=OPENAPI_TABLE)
def query_of_root(request: Request, query: str, form: WantedForm) -> Response:
    """The answer to a named query about all studies; its parameters are those of the query string beside `format`."""
    return _named(request, results_of(serving_of(request), None), query, form, query)


@router.get("/studies/{name}/queries/{query}", responses=OPENAPI_TABLE)
def query_of_study(
    request: Request,
    name: StudyName,
    query: Annotated[str, Path(description="Such as leaderboard.")],
    form: WantedForm,
) -> Response:
    """The answer to a named query about a study; its parameters are those of the query string beside `format`."""
    return _named(request, serving_of(request).reading.study(name), query, form, f"{name}-{query}")


@router.get("/studies/{name}/comparison", responses=OPENAPI_TABLE)
def comparison_of_studies(
    request: Request,
    name: StudyName,
    other: Annotated[str, Query(alias="with", description="The other study, which is the second.")],
    form: WantedForm,
    table: Annotated[
        Literal["settings", "metrics", "pairs", "only_first", "only_second"], Query(description="Which of its tables.")
    ] = "settings",
) -> Response:
    """How two studies differ, as `kd-sweep diff` says it: settings, means over pairs of trials, trials of one alone.

    In JSON `num_rows_of` says how many rows each of the tables has; it ends after 10,000, and `truncated` says so.
    """
    reading = serving_of(request).reading
    first, second = reading.study(name), reading.study(other)
    revision = reading.tag(first) + reading.tag(second)
    with VIEWS.one():
        compared = reading.remembered(("comparison", name, other), revision, lambda: first.compare(second))
    tables: dict[str, pa.Table] = {part: getattr(compared, part) for part in _COMPARED}
    return _part(tables, table, form, f"{name}-{other}-{table}")


@router.get("/studies/{name}/trials/{trial_id}/comparison", responses=OPENAPI_TABLE)
def comparison_of_trials(
    request: Request,
    name: StudyName,
    trial_id: TrialId,
    other: Annotated[str, Query(alias="with", description="The id of another trial of the study, or its beginning.")],
    form: WantedForm,
    table: Annotated[Literal["settings", "metrics"], Query(description="Which of its tables.")] = "settings",
) -> Response:
    """How two trials of a study differ, as `kd-sweep diff` says it: fields of their configurations, metrics."""
    serving = serving_of(request)
    with VIEWS.one():
        compared = trial_named(serving, name, trial_id).compare(trial_named(serving, name, other))
    tables = {"settings": compared.settings, "metrics": compared.metrics}
    return _part(tables, table, form, f"{compared.first}-{compared.second}-{table}")


def _part(tables: dict[str, pa.Table], wanted: str, form: Form, file: str) -> Response:
    table, num_rows = tables[wanted], {part: table.num_rows for part, table in tables.items()}
    if form in (Form.JSON, Form.COLUMNS):
        is_cut = table.num_rows > MOST_ROWS
        return table_answer(table.slice(0, MOST_ROWS), form, file, truncated=is_cut, num_rows_of=num_rows)
    return table_answer(table, form, file)


def _answered(request: Request, statement: Statement, form: Form) -> Response:
    results = results_of(serving_of(request), statement.study)
    statements: Statements = request.app.state.statements
    limits = results.limits
    content = statements.answer(
        Question(
            root=results.root.location,
            query=statement.query,
            parameters=statement.parameters,
            timeout_s=limits.timeout_s,
            memory_bytes=limits.memory_bytes,
            form=form,
            most_rows=MOST_ROWS,
        )
    )
    return encoded_answer(content, form, "answer")


def _named(request: Request, results: Results, query: str, form: Form, file: str) -> Response:
    reading = serving_of(request).reading
    if query not in NAMED_QUERIES:
        raise NotFoundError(f"query: {query!r} is not a named query; {alternatives(query, NAMED_QUERIES, 20)}")
    given = {name: value for name, value in sorted(request.query_params.items()) if name != "format"}
    asked = repr(NAMED_QUERIES[query].parsed(given))
    tag = reading.tag(results, form, query, asked)

    def compute() -> Response:
        with VIEWS.one():
            table = answer(results, query, given)
        return table_answer(table, form, file, tag=tag, remarks=remarks_of(table))

    key = (query, str(results.root), asked)
    return shared_answer(request, form, tag, compute, *key, is_live=reading.is_live(results))


def _columns(schemas: Mapping[str, pa.Schema]) -> dict[str, Any]:
    return {
        "tables": [
            {
                "name": table,
                "columns": [
                    {"name": field.name, "type": str(field.type), "meaning": column_meaning(table, field.name)}
                    for field in schema
                ],
            }
            for table, schema in schemas.items()
        ]
    }


def _about(query: NamedQuery) -> dict[str, Any]:
    return {
        "name": query.name,
        "answers": (query.function.__doc__ or "").strip().splitlines()[0],
        "parameters": query.parameters.model_json_schema(schema_generator=DescribedSchema),
        "most_rows": query.most_rows,
    }

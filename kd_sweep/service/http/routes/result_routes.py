"""Routes that read results: trials, epochs, teachers, whole tables."""

from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from fastapi import Path, Query, Request, Response
from fastapi.responses import JSONResponse

from kd_sweep.errors import QueryError, alternatives
from kd_sweep.handles.trial_results import TrialResults
from kd_sweep.service.http.answers.negotiation import (
    OPENAPI_TABLE,
    REVALIDATED,
    WantedForm,
    table_answer,
)
from kd_sweep.service.http.answers.paging import MOST_ROWS, USUAL_ROWS, epochs_page, page_of, selected
from kd_sweep.service.http.answers.row_conditions import matching
from kd_sweep.service.http.answers.shared_answers import shared_answer
from kd_sweep.service.http.answers.table_forms import Form
from kd_sweep.service.http.answers.whole_tables import table_stream
from kd_sweep.service.http.authorization import ForViewers
from kd_sweep.service.http.routes.api_router import api_router
from kd_sweep.service.http.serving import Serving, serving_of
from kd_sweep.service.http.slots import VIEWS
from kd_sweep.service.service_errors import NotFoundError
from kd_sweep.study.spec import NAME_PATTERN
from kd_sweep.tables.reader import Results
from kd_sweep.tables.rendering.value_text import plain
from kd_sweep.tables.schema import LARGE_COLUMNS, STATUSES, TABLES

router = api_router("results", ForViewers)

StudyName = Annotated[str, Path(pattern=NAME_PATTERN, description="Of the study.")]
TrialId = Annotated[str, Path(pattern="^[0-9a-f]{1,16}$", description="Of the trial, or an unequivocal beginning.")]
After = Annotated[str | None, Query(max_length=2000, description="`next` of the page before; none for the first.")]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="The most rows.")]
Columns = Annotated[str | None, Query(description="Names of columns with commas between them; all without it.")]


@router.get("/studies/{name}/trials", responses=OPENAPI_TABLE)
def trials(
    request: Request,
    name: StudyName,
    form: WantedForm,
    sort: Annotated[str, Query(description="A column; `-` before it: the greatest first.")] = "started_at",
    status: Annotated[str | None, Query(description="Only trials of this status.")] = None,
    where: Annotated[
        list[str] | None, Query(description="A condition such as `seed<=3` or `distillation_loss=kl`; once for each.")
    ] = None,
    columns: Columns = None,
    after: After = None,
    limit: Limit = USUAL_ROWS,
) -> Response:
    """The trials of a study, page by page, with the columns of the table `trials`.

    In JSON `num_matching` says how many there are on all pages.
    """
    reading = serving_of(request).reading
    study = reading.study(name)
    tag = reading.tag(study, form, request.url.query)

    def compute() -> Response:
        is_whole = any(column in text for column in LARGE_COLUMNS for text in (sort, *(where or ())))
        table = (study if is_whole else study.for_views()).table("trials")
        if status is not None:
            if status not in STATUSES:
                raise QueryError(f"status: {status!r} is not a status; {alternatives(status, STATUSES)}")
            table = table.filter(pc.equal(table["status"], status))
        table = matching(table, where or [])
        page, following = page_of(table, sort, "trial_id", after, limit)
        if not is_whole and (columns is None or any(column in columns for column in LARGE_COLUMNS)):
            page = study.with_configurations(page)
        about = {"num_matching": table.num_rows}
        return table_answer(selected(page, columns), form, f"{name}-trials", next_cursor=following, tag=tag, **about)

    return shared_answer(request, form, tag, compute, str(request.url), is_live=reading.is_live(study))


@router.get("/studies/{name}/trials/{trial_id}", response_model=dict[str, Any])
def trial(request: Request, name: StudyName, trial_id: TrialId) -> Response:
    """One trial: its row of the table `trials`, with its configuration as an object."""
    serving = serving_of(request)
    study = serving.reading.study(name)
    tag = serving.reading.tag(study, request.url.path)

    def compute() -> Response:
        found = trial_named(serving, name, trial_id)
        row: dict[str, Any] = plain(found.row | {"config": None, "settings": found.settings})
        return JSONResponse(row | {"config": found.config.model_dump(mode="json")}, headers=REVALIDATED)

    return shared_answer(request, Form.JSON, tag, compute, str(request.url), is_live=serving.reading.is_live(study))


@router.get("/studies/{name}/trials/{trial_id}/epochs", responses=OPENAPI_TABLE)
def epochs_of_trial(
    request: Request, name: StudyName, trial_id: TrialId, form: WantedForm, columns: Columns = None
) -> Response:
    """Every epoch of a trial in order, with the columns of the table `epochs`."""
    serving = serving_of(request)
    study = serving.reading.study(name)
    tag = serving.reading.tag(study, form, request.url.path, request.url.query)

    def compute() -> Response:
        table = selected(trial_named(serving, name, trial_id).epochs(), columns)
        return table_answer(table, form, f"{name}-{trial_id}-epochs", tag=tag)

    return shared_answer(request, form, tag, compute, str(request.url), is_live=serving.reading.is_live(study))


@router.get("/studies/{name}/epochs", responses=OPENAPI_TABLE)
def epochs(
    request: Request,
    name: StudyName,
    form: WantedForm,
    columns: Columns = None,
    after: After = None,
    limit: Limit = USUAL_ROWS,
) -> Response:
    """The epochs of all trials of a study by trial and epoch, page by page, with the columns of the table `epochs`."""
    reading = serving_of(request).reading
    study = reading.study(name)
    tag = reading.tag(study, form, request.url.path, request.url.query)

    def compute() -> Response:
        with VIEWS.one():
            page, following = epochs_page(study, after, limit, columns)
        return table_answer(page, form, f"{name}-epochs", next_cursor=following, tag=tag)

    return shared_answer(request, form, tag, compute, str(request.url), is_live=reading.is_live(study))


@router.get("/studies/{name}/teachers", responses=OPENAPI_TABLE)
def teachers(
    request: Request,
    name: StudyName,
    form: WantedForm,
    columns: Columns = None,
    after: After = None,
    limit: Limit = USUAL_ROWS,
) -> Response:
    """The teachers of a study, page by page, with the columns of the table `teachers`."""
    reading = serving_of(request).reading
    study = reading.study(name)
    tag = reading.tag(study, form, request.url.path, request.url.query)

    def compute() -> Response:
        page, following = page_of(study.table("teachers"), "teacher_id", "teacher_id", after, limit)
        return table_answer(selected(page, columns), form, f"{name}-teachers", next_cursor=following, tag=tag)

    return shared_answer(request, form, tag, compute, str(request.url), is_live=reading.is_live(study))


@router.get("/tables/{table}", responses=OPENAPI_TABLE)
def whole_table(
    request: Request,
    table: Annotated[str, Path(description="studies, trials, epochs, teachers or notes.")],
    form: WantedForm,
    study: Annotated[str | None, Query(description="Of this study alone.")] = None,
) -> Response:
    """A whole table, written while it is read: the way for large ones, and for other programs."""
    results = results_of(serving_of(request), study)
    if table not in TABLES:
        raise NotFoundError(f"table: {table!r} is not a table; {alternatives(table, TABLES)}")
    if form in (Form.JSON, Form.COLUMNS):
        return table_answer(_short_enough(results, table), form, table)
    return table_stream(results, table, form)


def results_of(serving: Serving, study: str | None) -> Results:
    """Return the results of a study, or of all; `NotFoundError` where there are none."""
    if study is not None:
        return serving.reading.study(study)
    results = serving.reading.results()
    if results is None:
        raise NotFoundError(f"results: no study in {serving.reading.root} yet")
    return results


def trial_named(serving: Serving, study: str, trial_id: str) -> TrialResults:
    """Return a trial by the beginning of its id; `NotFoundError` where it is none, or of several."""
    results = serving.reading.study(study)
    try:
        return results.trial(trial_id)
    except QueryError as error:
        raise NotFoundError(str(error)) from None


def _short_enough(results: Results, name: str) -> pa.Table:
    is_of_epochs = name == "epochs"
    table = results.sql("SELECT count(*) AS number FROM epochs") if is_of_epochs else results.table(name)
    num_rows = table["number"][0].as_py() if is_of_epochs else table.num_rows
    if num_rows > MOST_ROWS:
        raise QueryError(
            f"format: {num_rows} rows are more than the {MOST_ROWS} that JSON has; possible: arrow, csv, parquet, "
            "or the pages of a study's trials and epochs"
        )
    return results.table(name) if is_of_epochs else table
